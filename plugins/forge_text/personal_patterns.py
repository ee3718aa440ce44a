"""The regular expressions of `forge_text.personal`; they read shadows, in which full-width forms are ASCII already.

``WIDE`` and ``NARROW`` are the exception: they read raw text, in Rust's dialect, and must match wherever a rule can.
"""

from __future__ import annotations

import re

_GAP = r"[ \-._~/|*·•()\u200b\ufe0f\u20e3]{0,4}"  # between the groups of one number
_COMMA_GAP = r"[ \-._~/|*·•…(),、。\u200b\ufe0f\u20e3]{0,4}"
_SINGLE_GAP = r"[ \-._*/·\u200b\ufe0f\u20e3]{1,3}"  # between digits that stand one by one
_UNIT = r"(?!\.[0-9])(?!\s*+(?:元|块|万|亿|人|次|字|年|分|条|件|%|美元|斤|公里|千米|米))"
_HAN = r"(?-i:[\u4e00-\u9fff])"
_COUNTED = (
    r"播放|点赞|访问|浏览|观看|点击|转发|评论|关注|参加|报名|以上|左右"  # what counts of people or times go on with
)
_MEASURE = (
    r"(?!\.[0-9])(?!\s*+(?:元(?![旦宵])|块钱|万(?!一)|亿|%|美元|斤|公里|千米"
    rf"|(?:人|次|字|年|分|条|件|块|米)(?:{_COUNTED}|(?!{_HAN}))))"
)
"""A unit after a number long enough for a telephone: 人 and the like are one only where no word begins with them."""
_CHINA = rf"(?:\(?(?:\+|00)?86\)?{_GAP})?"
_IS = r"(?:(?:就?是|为|叫|:|=|-{1,2}|→)\s*+){0,2}"

# E-mail ------------------------------------------------------------------------------------------------------------
_LATIN = r"A-Za-zÀ-ÖØ-öø-ÿ"
_LOCAL = rf"[{_LATIN}0-9._%+-]{{1,64}}+"
"""What stands before the @, to RFC 5321 at most 64 characters: bounded and never given back, so that a long unbroken
token costs what its length costs and not the square of that."""
_TOP = r"(?:com|cn|net|org|edu|gov|io|me|top|xyz|cc|info|hk|tw|uk|us|de|jp)"
_AT = r"(?:\s*+(?:[\[({【<]\s*+(?:at|AT|@|艾特)\s*+[\])}】>]|@|艾特|圈a|小老鼠|老鼠|#)\s*+)"
_DOT = r"(?:\s*+(?:[\[({【<]\s*+(?:dot|DOT|点|\.)\s*+[\])}】>]|\.|。|点|\bdot\b|\bDOT\b|,(?=com|cn))\s*+)"
_PROVIDER = r"(?:qq|QQ|163|126|139|gmail|Gmail|foxmail|outlook|hotmail|sina|sohu|yeah|yahoo|icloud)"
EMAILS = (
    re.compile(rf"{_LOCAL}@[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)*\.[A-Za-z]{{2,}}"),
    re.compile(rf"{_LOCAL}{_AT}[A-Za-z0-9-]+(?:{_DOT}[A-Za-z0-9-]+)*?{_DOT}{_TOP}(?![A-Za-z0-9])"),
    re.compile(
        rf"{_LOCAL}\s++(?:at|AT|At)\s++[A-Za-z0-9-]+(?:\s*+(?:\.|\bdot\b|点)\s*+[A-Za-z0-9-]+)*?"
        rf"\s++(?:dot|DOT|点)\s++{_TOP}(?![A-Za-z0-9])"
    ),
    re.compile(
        rf"(?:邮箱|邮件|e-?mail|E-?mail|EMAIL|mail)[^A-Za-z0-9。!?]{{0,6}}(?P<value>{_LOCAL}\s++(?:at|AT|At)\s++"
        rf"[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)*\.{_TOP})(?![A-Za-z0-9])"
    ),
    re.compile(
        rf"(?<![A-Za-z0-9])[A-Za-z0-9][A-Za-z0-9.+_-]{{0,63}}?(?:_at_|-at-|_AT_|-AT-)"
        rf"[A-Za-z0-9]+(?:(?:_dot_|-dot-|_DOT_|-DOT-|\.)[A-Za-z0-9]+)*?(?:_dot_|-dot-|_DOT_|-DOT-|\.){_TOP}"
        rf"(?![A-Za-z0-9])"
    ),
    re.compile(
        rf"(?:{_LOCAL}\s*+在\s*+|(?<![A-Za-z0-9])(?=[A-Za-z]*[0-9._])[A-Za-z0-9._%+-]{{2,64}}+\s++(?:at|AT|At)\s++)"
        rf"{_PROVIDER}{_DOT}{_TOP}(?![A-Za-z0-9])"
    ),
    re.compile(rf"{_LOCAL}@(?:qq|QQ|163|126|139|gmail|foxmail|outlook|hotmail|sina|sohu|yeah)(?![A-Za-z0-9.])"),
)
EMAIL_WORDS = ("@", "at", "艾特", "圈a", "老鼠", "#", *(f"在{name}" for name in _PROVIDER[3:-1].lower().split("|")))

# Identity cards -----------------------------------------------------------------------------------------------------
_CARD_GAP = r"[ \-.·_]{0,2}"
IDENTITY = re.compile(rf"(?<![0-9])[1-9](?:{_CARD_GAP}[0-9]){{16}}{_CARD_GAP}[0-9Xx](?![0-9])")
IDENTITY_WORD = re.compile(
    r"身份证|身分证|证件|(?<![A-Za-z])ID(?![A-Za-z])|ID ?(?:卡|号|card|number)|identity", re.IGNORECASE
)
OLD_IDENTITY = re.compile(
    r"(?:身份证|身分证|证件|(?i:ID card|identity card))[^0-9。!?]{0,8}"
    rf"(?P<value>[1-9](?:{_CARD_GAP}[0-9]){{7}}{_CARD_GAP}"
    rf"(?:0{_CARD_GAP}[1-9]|1{_CARD_GAP}[0-2]){_CARD_GAP}(?:0{_CARD_GAP}[1-9]|[12]{_CARD_GAP}[0-9]|3{_CARD_GAP}[01])"
    rf"(?:{_CARD_GAP}[0-9]){{3}})(?!{_CARD_GAP}[0-9Xx])"
)

# Telephones ---------------------------------------------------------------------------------------------------------
NUMBER_RUN = re.compile(r"[0-9+(][0-9+ \-._~/|*·•…(),、。\u200b\ufe0f\u20e3]{6,}+")
_GROUPED = tuple(
    re.compile(rf"(?<![0-9]){_CHINA}{digits}(?![0-9]){_MEASURE}")
    for digits in (
        rf"1 ?[3-9] ?[0-9]{_COMMA_GAP}[0-9]{{4}}{_COMMA_GAP}[0-9]{{4}}",
        rf"1[3-9][0-9]{_GAP}[0-9]{{3}}{_GAP}[0-9]{{5}}",
        rf"1[3-9][0-9]{_GAP}[0-9]{{5}}{_GAP}[0-9]{{3}}",
        rf"1[3-9][0-9]{{2}}{_GAP}[0-9]{{3}}{_GAP}[0-9]{{4}}",
        rf"1[3-9][0-9]{{2}}{_GAP}[0-9]{{4}}{_GAP}[0-9]{{3}}",
        rf"1[3-9][0-9]{{3}}{_GAP}[0-9]{{6}}",
        rf"1[3-9][0-9]{{4}}{_GAP}[0-9]{{5}}",
        rf"1[3-9][0-9]{_GAP}[0-9]{{2}}{_GAP}[0-9]{{2}}{_GAP}[0-9]{{2}}{_GAP}[0-9]{{2}}",
    )
)
_SINGLE = re.compile(
    rf"(?<![0-9])(?<![0-9][ \-.·]){_CHINA}1{_SINGLE_GAP}[3-9](?:{_SINGLE_GAP}[0-9]){{9}}"
    rf"(?![0-9])(?!{_SINGLE_GAP}[0-9])"
)
MOBILES = (*_GROUPED, _SINGLE)
MOBILE = re.compile(r"1[3-9][0-9]{9}")
MOBILE_WITH_LETTERS = re.compile(
    rf"(?<![0-9A-Za-z])[1lI][3-9][0-9OolI]{_GAP}[0-9OolI]{{4}}{_GAP}[0-9OolI]{{4}}(?![0-9A-Za-z]){_MEASURE}"
)
LIST_NUMBER = re.compile(r"(?:^|[\n;、。!?]|[0-9]{7}[,\s]+)[ \t]*[1-9][0-9]?\.$")
DECIMAL = re.compile(r"[0-9]\.$")
CIRCLE = "14159265"
"""What follows on ``3.`` in the one number that is written to eleven places and could be a telephone by its digits."""
TELEPHONE_WORD = re.compile(
    r"电话|手机|号码|联系|座机|打给|拨打|致电|短信|呼我|(?:^|[我打])号|(?<![A-Za-z])(?:tel|phone|cell|mobile|call|text|ring|dial|reach|number)",
    re.IGNORECASE,
)
TELEPHONE_AFTER = re.compile(
    r"\s*+,?\s*+(?:(?:is|'s)\s++my|这?是(?:我|本人)的?)\s*+(?:(?:new|old|work|home)\s++)?(?:cell|phone|mobile|tel|number|电话|手机|号码|座机)",
    re.IGNORECASE,
)
NAMED_NUMBERS = (
    re.compile(
        rf"(?<![0-9]){_CHINA}1{_COMMA_GAP}[3-9](?:{_COMMA_GAP}[0-9]){{9}}(?![0-9])(?!{_COMMA_GAP}[0-9]){_MEASURE}"
    ),
    re.compile(
        r"(?<![0-9A-Za-z\-+])(?:1[-. ])?(?!8(?:00|33|44|55|66|77|88)|400|9[0-9]{2})[2-9][0-9]{2} ?[-. ]"
        r" ?[2-9][0-9]{2} ?[-. ] ?[0-9]{4}(?![0-9\-])"
    ),
    re.compile(
        rf"(?<![0-9A-Za-z\-+.,])1?(?!8(?:00|33|44|55|66|77|88)|400|9[0-9]{{2}})[2-9][0-9]{{2}}[2-9][0-9]{{6}}"
        rf"(?![0-9A-Za-z\-]){_MEASURE}"
    ),
    re.compile(r"(?<![0-9A-Za-z\-+])0[1-9][0-9]{2,3}[ -]?[0-9]{3}[ -]?[0-9]{3,4}(?![0-9\-])"),
    re.compile(r"(?<![0-9A-Za-z\-+.,])(?!800|400)[2-9][0-9]{2}-[0-9]{4}(?![0-9\-])"),
)
"""Numbers in looser forms, of which a word before or after must say that they are telephones."""

_ENGLISH_DIGIT = r"(?:zero|oh|one|two|three|four|five|six|seven|eight|nine)"
_PINYIN_DIGIT = r"(?:ling|yi|yao|er|san|si|wu|liu|qi|ba|jiu)"
SPOKEN_NUMBERS = (
    re.compile(
        rf"(?<![A-Za-z])(?:(?:double|triple) )?{_ENGLISH_DIGIT}"
        rf"(?:[ ,.\-]{{1,3}}(?:(?:double|triple) )?{_ENGLISH_DIGIT}){{6,14}}(?![A-Za-z])",
        re.IGNORECASE,
    ),
    re.compile(rf"(?<![A-Za-z])(?:yi|yao)(?:[ \-,.]{{0,2}}{_PINYIN_DIGIT}){{10}}(?![A-Za-z])", re.IGNORECASE),
)
SPOKEN_WORDS = ("zero", "oh", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
PINYIN_DIGITS = dict(zip("ling yi yao er san si wu liu qi ba jiu".split(), "01123456789", strict=True))  # noqa: SIM905
SPOKEN_WORD = re.compile(rf"double|triple|{_ENGLISH_DIGIT}|{_PINYIN_DIGIT}")
SPOKEN_HINTS = (
    "one",
    "two",
    "three",
    "five",
    "eight",
    "ling",
    "yao",
    "yisan",
    "yisi",
    "yiwu",
    "yiliu",
    "yiqi",
    "yiba",
    "yijiu",
)
LANDLINE_WITH_LETTERS = re.compile(
    r"(?<![0-9A-Za-z])(?=[0-9 -]{0,13}[OolI])[0Oo2-9][0-9OolI]{2,3}[- ]?[0-9OolI]{3,4}[- ]?[0-9OolI]{4}(?![0-9A-Za-z])"
)
_ORDERED = "订单|运单|工单|快递单|物流单|流水|条形?码|批次|合同|发票|车牌|准考证"
_ENGLISH_ORDERED = (
    "order|tracking|parcel|invoice|case|ticket|serial|model|student|employee|reference|confirmation|booking|product|"
    "item"
)
OTHER_NUMBER = re.compile(
    rf"(?:(?:{_ORDERED})(?:号码?|编号)?|(?:单|编|货|型|工|批|考|案|文|(?<![同大小中])学)号)[ :#(是为]{{0,4}}$"
    rf"|(?:订单|ISBN|编码|版本|金额|价格|共计)号?[^0-9,。\u4e00-\u9fff]{{0,4}}$"
    r"|[¥￥$€£]\s?$|第$|(?:观看|播放|浏览|点击|阅读|访问|点赞|转发)(?:次数|量|数)[ :是为达]{0,3}$"
    rf"|(?<![A-Za-z])(?:{_ENGLISH_ORDERED})\s*+(?:id|no\.?|number|code|#)\s*+(?:is|是|:|=|#)?\s*+$",
    re.IGNORECASE,
)
"""Words right before a number that say it is no telephone; 学 and 工 alone end words for people too (同学, 员工)."""
HOTLINE_WORD = re.compile(r"热线|援助|求助电话|客服|总机|报警|咨询电话|救助|干预中心")
_AREA = r"\(?0(?:10|2[0-9]|[3-9][0-9]{2})\)?"
_EXTENSION = r"(?:\s*+(?:转|分机|ext\.?)\s*+[0-9]{1,5})?"
_TELEPHONE_WORD = r"(?:电话|座机|固话|宅电|家电|打给我|联系方式|tel|Tel|TEL|phone|Phone)(?:号码?)?\s*+(?:[:是为.])?\s*+"
LANDLINES = (
    re.compile(r"(?<![0-9])(?P<value>0[0-9]{2,3}-[0-9]{7,8})(?![0-9])"),
    re.compile(
        rf"(?<![0-9])(?P<value>{_CHINA}{_AREA}{_GAP}[2-9][0-9]{{2,3}}{_GAP}[0-9]{{4}}{_EXTENSION})(?![0-9]){_MEASURE}"
    ),
    re.compile(
        rf"(?<![0-9])(?P<value>\(?(?:\+|00)86\)?{_GAP}(?:10|2[0-9]|[3-9][0-9]{{2}}){_GAP}[2-9][0-9]{{2,3}}{_GAP}[0-9]{{4}})(?![0-9])"
    ),
    re.compile(r"(?<![0-9])(?P<value>09[0-9]{2}[ \-][0-9]{3}[ \-][0-9]{3})(?![0-9])"),
    re.compile(
        r"(?<![0-9A-Za-z\-])(?P<value>(?:1[-. ])?(?:\((?!8(?:00|33|44|55|66|77|88)|400)[2-9][0-9]{2}\) ?"
        r"[2-9][0-9]{2}[-. ]?|(?!8(?:00|33|44|55|66|77|88)|400)[2-9][0-9]{2}[-.][2-9][0-9]{2}[-. ])[0-9]{4})(?![0-9\-])"
    ),
)
NAMED_LANDLINE = re.compile(
    rf"{_TELEPHONE_WORD}(?P<value>(?!400|800)[2-9][0-9]{{2,3}}[ \-.]?[0-9]{{4}}{_EXTENSION})"
    rf"(?![0-9])(?![ \-.][0-9]){_MEASURE}"
)
INTERNATIONAL = re.compile(
    r"(?<![0-9A-Za-z])\+(?!86)[1-9][0-9]{0,2}(?: ?\(0\))?(?:[ \-.()]{0,2}[0-9]{2,5}){2,5}(?![0-9])"
)

# Bank cards and passports, on demand --------------------------------------------------------------------------------
BANK_CARD = re.compile(r"(?<![0-9])(?<![0-9]\.)[3-6](?:[ \-]?[0-9]){14,18}(?![0-9])")
PASSPORT = re.compile(
    r"(?:护照|通行证|(?<![A-Za-z])passport)\s*+(?:号码?|编号|no\.?|number|#)?\s*+(?:就?是|为|is|:|=)?\s*+"
    r"(?P<value>[A-Za-z]{1,2} ?[0-9]{7,8}|[0-9]{9})(?![0-9A-Za-z])",
    re.IGNORECASE,
)

# Social accounts ----------------------------------------------------------------------------------------------------
_QQ = (
    r"(?:(?<![A-Za-z])[Qq][ .]?[Qq]|扣[ *.]?扣|企鹅|球球|蔻蔻|抠抠|叩叩|秋秋|丘丘|🐧|(?<![A-Za-z])qiu ?qiu|鹅号"
    r"|(?<![A-Za-z])[Qq](?=号|:)|(?<=[我的])[Qq](?=是)|扣(?=号|:)|加[个我]?[Qq扣])"
)
_BREAK = r"[ *·./_-]{0,2}"  # put between the characters of a name to hide it
_HEART = r"[❤♥♡💕💗💓💖]\ufe0f?"
_WECHAT = (
    rf"(?:微{_BREAK}信|微x|[威薇徽维]信|[威薇徽]芯|[微威薇维]{_HEART}|wei信|卫星(?=号|:)|(?<=加)卫星"
    rf"|(?<![A-Za-z])(?:we ?chat|wei ?xin|v ?x|w ?x|[vw]信|v{_HEART}|w{_HEART}|v(?=号|:)|vx?号)"
    r"|[加➕+] ?(?:v|薇|微)|薇(?=:)|(?:微|薇|(?<![A-Za-z])v)我|绿泡泡|绿色软件)"
)
_ALSO = rf"(?:\s*+(?:/|、|,|和|或|&|跟)\s*+(?:{_QQ}|{_WECHAT}|手机|电话)号?)*"
_SAID = r"(?:[哈吧哦呀啊呢嘛]{1,2}|上?(?:搜索?|加|找|叫|查|戳)我?)?"  # what people put between a name and an account
_QQ_DIGITS = r"[1-9](?:[ \-.]?[0-9]){4,11}(?![0-9])(?!-[0-9])"
QQ_NUMBERS = (
    re.compile(rf"(?<=我的)(?:[Qq]{{2}}|扣扣)\s*+,\s*+[1-9][0-9]{{5,10}}(?![0-9]){_UNIT}(?![月日号])"),
    re.compile(
        rf"{_QQ}\s*+(?:号码?|群(?:号|主)?|账号|帐号|邮箱|number|no\.|id)?{_SAID}{_ALSO}(?:都|也|同号)?\s*+"
        rf"(?:{_IS}|is\s++){_QQ_DIGITS}{_UNIT}",
        re.IGNORECASE,
    ),
    re.compile(
        r"(?<![0-9])[1-9][0-9]{4,11}\s*+(?:,|\()?\s*+(?:这?是)?(?:我的?|本人的?)?(?:QQ|扣扣|企鹅)号?(?![A-Za-z0-9空群里])",
        re.IGNORECASE,
    ),
)
QQ_WORDS = ("q", "扣", "企鹅", "球球", "蔻", "抠", "叩", "鹅号", "秋秋", "丘丘", "🐧")
_WECHAT_NAMES = (
    "微信|威信|威芯|薇芯|徽芯|徽信|维信|微x|微我|卫星|绿泡泡|绿色软件|加微|+微|➕微|薇|❤|♥|♡|💕|💗|💓|💖"
    "|vx|wx|v信|w信|wei信|wechat|weixin|v:|v号|加v|+v|➕v|v我"
)
WECHAT_WORDS = tuple(_WECHAT_NAMES.split("|"))
_SITES = (
    r"(?:weibo\.com(?:/u)?|instagram\.com|tiktok\.com|douyin\.com/user|xiaohongshu\.com/user/profile|facebook\.com"
    r"|twitter\.com|zhihu\.com/people|space\.bilibili\.com|linkedin\.com/in|snapchat\.com/add)"
)
_HAN_NAMES = (
    "抖音|斗音|微愽|微搏|徽博|小破站|快手|微博|小红书|小红薯|围脖|哔哩哔哩|知乎"
    "|陌陌|探探|钉钉|飞书|贴吧|支付宝|淘宝|网易云|豆瓣|闲鱼|最右|虎扑|推特|脸书|电报"
)
_HAN_PLATFORMS = "|".join(_BREAK.join(name) for name in _HAN_NAMES.split("|")) + "|抖yin|dou音"
_LATIN_PLATFORMS = (
    "bilibili|soul|telegram|tg|ins|insta|instagram|ig|twitter|facebook|fb|whatsapp|discord|skype|snapchat|snap|tiktok|"
    "douyin|dy|d音|weibo|wb|xhs|kik|steam"
)
PLATFORM_WORDS = (
    *re.sub(r"\(\?:/[a-z]+\)\?|[^a-z|]", "", _SITES[3:-1]).split("|"),
    *_LATIN_PLATFORMS.split("|"),
    *_HAN_NAMES.split("|"),
    "抖yin",
    "dou音",
    "b站",
    "line",
    "qq",
    "tme",
)
_PLATFORM = (
    rf"(?:{_HAN_PLATFORMS}|B站"
    rf"|(?<![A-Za-z])(?!(?<=[A-Za-z] )(?:soul|steam))(?:(?:{_LATIN_PLATFORMS})(?![A-Za-z])"
    r"|line(?=\s*+(?:id|号|:))|qq(?=\s*+(?:id|号|:))))"
)
_IDENTIFIER = r"[A-Za-z][A-Za-z0-9_-]{5,19}"
_MIXED = r"(?=[A-Za-z0-9_.\-]{0,28}[0-9_\-])(?=[0-9_.\-]{0,28}[A-Za-z])[A-Za-z0-9_][A-Za-z0-9_.\-]{4,28}[A-Za-z0-9_]"
_HANDLE = r"[A-Za-z0-9_][A-Za-z0-9_.]{2,28}[A-Za-z0-9_]"
_MARK = r"(?:号码?|ID|UID|账号|帐号|用户名|名|account|handle|username|user|name)"
_NAMED_WECHAT = rf"{_WECHAT}\s*+(?:号码?|账号|帐号|ID)?{_ALSO}(?:都|也|同号)?\s*+"
WECHAT_ACCOUNTS = (
    re.compile(rf"{_NAMED_WECHAT}{_IS}(?P<value>{_IDENTIFIER})", re.IGNORECASE),
    re.compile(rf"{_NAMED_WECHAT}(?:{_SAID}\s*+{_IS}|(?:is|at|me at)\s++)@?(?P<value>{_MIXED})", re.IGNORECASE),
    re.compile(rf"{_WECHAT}\s*+(?:id|account|handle|name|username)\s++is\s++(?P<value>{_IDENTIFIER})", re.IGNORECASE),
    re.compile(rf"{_NAMED_WECHAT}\((?P<value>{_IDENTIFIER}|{_MIXED})\)", re.IGNORECASE),
    re.compile(rf"{_NAMED_WECHAT}{_IS}(?P<value>[1-9](?:[ \-]?[0-9]){{5,11}})(?![0-9]){_UNIT}", re.IGNORECASE),
    re.compile(r"(?<![A-Za-z0-9_])(?P<value>wxid_[A-Za-z0-9]{6,20})"),
)
PLATFORM_ACCOUNTS = (
    re.compile(
        rf"{_PLATFORM}(?:\s*+{_MARK}\s*+(?:{_IS}|is\s++)|\s*+(?:就?是|为|叫|:|=|@))\s*+@?"
        rf"(?P<value>[A-Za-z0-9_][A-Za-z0-9_.\-]{{3,28}}[A-Za-z0-9_](?:#[0-9]{{4}})?){_UNIT}",
        re.IGNORECASE,
    ),
    re.compile(rf"{_PLATFORM}\s++(?:is|as)\s++(?P<value>@{_HANDLE}|{_IDENTIFIER}#[0-9]{{4}}|{_MIXED})", re.IGNORECASE),
    re.compile(rf"{_PLATFORM}\s*+(?:me\s++)?(?:at\s++)?@(?P<value>{_HANDLE})", re.IGNORECASE),
    re.compile(rf"{_PLATFORM}{_SAID}\s?(?:[-→>]{{1,2}} ?)?(?P<value>{_MIXED}){_UNIT}", re.IGNORECASE),
    re.compile(
        rf"{_PLATFORM}\s*+(?:{_MARK}\s*+)?{_IS}(?P<value>[A-Za-z0-9_.]{{2,30}}#[0-9]{{4}})(?![0-9])", re.IGNORECASE
    ),
    re.compile(
        rf"(?P<value>(?<![A-Za-z0-9_@.])@{_HANDLE}|(?<![A-Za-z0-9_@.]){_MIXED})\s++on\s++(?:{_LATIN_PLATFORMS}|wechat|line|QQ)(?![A-Za-z])",
        re.IGNORECASE,
    ),
    re.compile(
        rf"(?:^|(?<=[^A-Za-z0-9.]))(?:https?://)?(?:www\.|m\.)?(?:t\.me|{_SITES})/@?(?P<value>[A-Za-z0-9_][A-Za-z0-9_.\-]{{3,30}})",
        re.IGNORECASE,
    ),
    re.compile(rf"{_PLATFORM}\s*+@(?P<value>\w{{2,20}})\s*+,?\s*+(?:就?是我|是?本人)", re.IGNORECASE),
    re.compile(rf"我的?{_PLATFORM}(?:{_MARK}|昵称)?\s*+{_IS}@(?P<value>\w{{2,20}})", re.IGNORECASE),
)
_NAME = rf"(?:{_WECHAT}|{_PLATFORM})号?"
ACCOUNTS_BEFORE_NAMES = (
    re.compile(
        rf"(?<![A-Za-z0-9_])(?P<value>[A-Za-z][A-Za-z0-9_\-]{{5,19}})\s*+[,(]?\s*+这?是?(?:我的?|本人的?){_NAME}",
        re.IGNORECASE,
    ),
    re.compile(rf"(?<![A-Za-z0-9_])(?P<value>{_MIXED})\s*+(?:\(\s*+|,\s*+)(?:我的?)?{_NAME}\)?", re.IGNORECASE),
)
_ORDINARY = (
    "account|accounts|android|article|articles|channel|chatting|contact|contacts|friend|friends|group|groups|iphone|"
    "message|messages|moments|notification|number|official|payment|program|public|reading|sticker|stickers|update|"
    "version|wallet|windows|about|after|again|always|because|before|being|broken|could|daily|deleted|every|everyone|"
    "everything|feels|filters|first|followers|going|group|hacked|hashtag|important|instead|later|makes|maybe|might|"
    "never|nothing|people|photo|photos|picture|pictures|please|popular|post|posts|profile|really|right|should|since|"
    "someone|something|still|stories|story|their|there|these|thing|things|those|thread|today|using|video|videos|where|"
    "which|while|would|yesterday"
)
RESOLUTION = re.compile(r"[0-9]{3,4}[pk][0-9]*", re.IGNORECASE)
ORDINARY_WORDS = frozenset(_ORDINARY.split("|"))
"""English words that follow the name WeChat without being anybody's account."""

# What can hold any of it, in raw text -------------------------------------------------------------------------------
_RAW_DIGIT = r"[0-9０-９零一二三四五六七八九〇壹贰叁肆伍陆柒捌玖幺貳陸两洞拐勾OolI⓪\p{No}𝟎-𝟿]"
_RAW_MORE = rf"(?:[^\p{{Han}}A-Za-z0-9]{{0,4}}{_RAW_DIGIT})"
_RAW_DIGITS = rf"{_RAW_DIGIT}{_RAW_MORE}{{4}}"
_RAW_QQ = r"[Qq扣蔻抠叩🐧]|企鹅|球球|鹅号|秋秋|丘丘"
_RAW_IDENTIFIER = r"[A-Za-z0-9_.\-Ａ-Ｚａ-ｚ０-９＿．－‐‑‒–—―−─]{5}"  # with every mark that a shadow has as a hyphen
_RAW_ACCOUNT = rf"(?:{_RAW_IDENTIFIER}|[#＃][0-9０-９]{{4}}|{_RAW_DIGITS})"
_RAW_NAME = (
    rf"(?:[微薇威徽维卫]|围脖|小红薯|绿泡泡|绿色软件|B站|b站|{_HAN_PLATFORMS}|[Ａ-Ｚａ-ｚ]"
    rf"|(?:^|[^A-Za-z])(?i:v|w|qq|line|{_LATIN_PLATFORMS}))"
)
WIDE = (
    rf"[@＠]|{_RAW_DIGITS}|{_RAW_IDENTIFIER}|(?i:{_ENGLISH_DIGIT}[ ,.\-]|yi|yao)"
    r"|[A-Za-z0-9Ａ-Ｚａ-ｚ０-９_.\-]\s*(?:[^A-Za-z0-9]{0,3}(?:at|AT|At|艾特|圈a|[#＃])|小?老鼠|在)"
)
NARROW = (
    rf"[@＠]|{_RAW_DIGIT}{_RAW_MORE}{{6}}|(?:{_RAW_QQ})[\s\S]*{_RAW_DIGITS}|[Ａ-Ｚａ-ｚ]|wxid_|(?i:t\.me|\.com(?:/u|/user|/user/profile|/people|/in|/add)?)/",
    rf"{_RAW_DIGITS}[\s\S]*(?:{_RAW_QQ})",
    rf"(?:[\s\[({{【<（]\s*(?i:at)[\s\])}}】>）]|[_-](?i:at)[_-]|艾特|圈a|老鼠|[#＃])[\s\S]{{1,60}}?(?i:{_TOP})",
    rf"[A-Za-z0-9Ａ-Ｚａ-ｚ０-９]\s*在\s*(?i:{_PROVIDER})",
    rf"(?i:{_ENGLISH_DIGIT}[ ,.\-]+(?:double |triple )?{_ENGLISH_DIGIT}[ ,.\-]+(?:double |triple )?{_ENGLISH_DIGIT})",
    rf"(?i:y[ia]o?[ \-,.]{{0,2}}{_PINYIN_DIGIT}[ \-,.]{{0,2}}{_PINYIN_DIGIT})",
    rf"{_RAW_NAME}[\s\S]{{0,40}}?{_RAW_ACCOUNT}",
    rf"{_RAW_IDENTIFIER}[\s\S]{{0,16}}?{_RAW_NAME}",
)
"""One of these matches; together in one expression they are three times as slow.

Five digits may be a QQ number or an account, and only where one is named; all else that is told by digits has seven
or more.
"""
