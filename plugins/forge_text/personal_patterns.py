"""The regular expressions of `forge_text.personal`; they read shadows, in which full-width forms are ASCII already.

``WIDE`` is the exception: it reads raw text, in Rust's dialect, and must match wherever a rule can.
"""

from __future__ import annotations

import re

_GAP = r"[ \-._~/·•()\u200b\ufe0f\u20e3]{0,3}"  # between the groups of one number
_COMMA_GAP = r"[ \-._~/·•(),、\u200b\ufe0f\u20e3]{0,3}"
_SINGLE_GAP = r"[ \-._·\u200b\ufe0f\u20e3]{1,3}"  # between digits that stand one by one
_UNIT = r"(?!\.[0-9])(?!\s*(?:元|块|万|亿|人|次|字|年|分|条|件|%|美元|斤|公里|千米|米))"
_CHINA = rf"(?:\(?(?:\+|00)?86\)?{_GAP})?"
_IS = r"(?:(?:是|为|叫|:|=|-{1,2})\s*){0,2}"

# E-mail ------------------------------------------------------------------------------------------------------------
_LOCAL = r"[A-Za-z0-9._%+-]+"
_TOP = r"(?:com|cn|net|org|edu|gov|io|me|top|xyz|cc|info|hk|tw|uk|us|de|jp)"
_AT = r"(?:\s*(?:[\[({【<]\s*(?:at|AT|@|艾特)\s*[\])}】>]|@|艾特|圈a|#)\s*)"
_DOT = r"(?:\s*(?:[\[({【<]\s*(?:dot|DOT|点|\.)\s*[\])}】>]|\.|。|点|\bdot\b|\bDOT\b)\s*)"
EMAILS = (
    re.compile(r"[A-Za-z0-9._%+-]+@[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)*\.[A-Za-z]{2,}"),
    re.compile(rf"{_LOCAL}{_AT}[A-Za-z0-9-]+(?:{_DOT}[A-Za-z0-9-]+)*?{_DOT}{_TOP}(?![A-Za-z0-9])"),
    re.compile(
        rf"{_LOCAL}\s+(?:at|AT|At)\s+[A-Za-z0-9-]+(?:\s*(?:\.|\bdot\b|点)\s*[A-Za-z0-9-]+)*?"
        rf"\s+(?:dot|DOT|点)\s+{_TOP}(?![A-Za-z0-9])"
    ),
    re.compile(
        rf"(?:邮箱|邮件|e-?mail|E-?mail|EMAIL|mail)[^A-Za-z0-9。!?]{{0,6}}(?P<value>{_LOCAL}\s+(?:at|AT|At)\s+"
        rf"[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)*\.{_TOP})(?![A-Za-z0-9])"
    ),
    re.compile(rf"{_LOCAL}@(?:qq|QQ|163|126|139|gmail|foxmail|outlook|hotmail|sina|sohu|yeah)(?![A-Za-z0-9.])"),
)
EMAIL_WORDS = ("@", "at", "艾特", "圈a", "#")

# Identity cards -----------------------------------------------------------------------------------------------------
_CARD_GAP = r"[ \-.·]?"
IDENTITY = re.compile(rf"(?<![0-9])[1-9](?:{_CARD_GAP}[0-9]){{16}}{_CARD_GAP}[0-9Xx](?![0-9])")
IDENTITY_WORD = re.compile(r"身份证|身分证|证件|ID(?:卡|号|card)?", re.IGNORECASE)
OLD_IDENTITY = re.compile(
    r"(?:身份证|身分证|证件)[^0-9。!?]{0,8}(?P<value>[1-9][0-9]{5}[0-9]{2}(?:0[1-9]|1[0-2])(?:0[1-9]|[12][0-9]|3[01])[0-9]{3})(?![0-9Xx])"
)

# Telephones ---------------------------------------------------------------------------------------------------------
NUMBER_RUN = re.compile(r"[0-9+(][0-9+ \-._~/·•(),、\u200b\ufe0f\u20e3]{5,}[0-9]")
_GROUPED = tuple(
    re.compile(rf"(?<![0-9])(?<![0-9]\.){_CHINA}{digits}(?![0-9]){_UNIT}")
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
MOBILE_WITH_LETTERS = re.compile(
    rf"(?<![0-9A-Za-z])[1lI][3-9][0-9OolI]{_GAP}[0-9OolI]{{4}}{_GAP}[0-9OolI]{{4}}(?![0-9A-Za-z]){_UNIT}"
)
OTHER_NUMBER = re.compile(
    r"(?:订单|运单|单|快递|物流|编|流水|货|型|学|工|条码|批|合同|发票|车牌|准考证|考|案|文)"
    r"(?:号码?|编号)?[ :#是为]{0,3}$"
    r"|(?:订单|快递|ISBN|编码|版本|金额|价格|共计)[^0-9,。]{0,4}$",
    re.IGNORECASE,
)
HOTLINE_WORD = re.compile(r"热线|援助|求助电话|客服|总机|报警|咨询电话|救助|干预中心")
_AREA = r"\(?0(?:10|2[0-9]|[3-9][0-9]{2})\)?"
_EXTENSION = r"(?:\s*(?:转|分机|ext\.?)\s*[0-9]{1,5})?"
_TELEPHONE_WORD = r"(?:电话|座机|固话|宅电|家电|打给我|联系方式|tel|Tel|TEL|phone|Phone)(?:号码?)?\s*(?:[:是为.])?\s*"
LANDLINES = (
    re.compile(r"(?<![0-9])(?P<value>0[0-9]{2,3}-[0-9]{7,8})(?![0-9])"),
    re.compile(
        rf"(?<![0-9])(?P<value>{_CHINA}{_AREA}{_GAP}[2-9][0-9]{{2,3}}{_GAP}[0-9]{{4}}{_EXTENSION})(?![0-9]){_UNIT}"
    ),
    re.compile(
        rf"(?<![0-9])(?P<value>\(?(?:\+|00)86\)?{_GAP}(?:10|2[0-9]|[3-9][0-9]{{2}}){_GAP}[2-9][0-9]{{2,3}}{_GAP}[0-9]{{4}})(?![0-9])"
    ),
    re.compile(r"(?<![0-9])(?P<value>09[0-9]{2}[ \-][0-9]{3}[ \-][0-9]{3})(?![0-9])"),
    re.compile(
        r"(?<![0-9A-Za-z\-])(?P<value>(?:1[-. ])?(?:\((?!8(?:00|33|44|55|66|77|88)|400)[2-9][0-9]{2}\) ?"
        r"|(?!8(?:00|33|44|55|66|77|88)|400)[2-9][0-9]{2}[-.])[2-9][0-9]{2}[-. ][0-9]{4})(?![0-9\-])"
    ),
)
NAMED_LANDLINE = re.compile(
    rf"{_TELEPHONE_WORD}(?P<value>(?!400|800)[2-9][0-9]{{2,3}}[ \-.]?[0-9]{{4}}{_EXTENSION})"
    rf"(?![0-9])(?![ \-.][0-9]){_UNIT}"
)
INTERNATIONAL = re.compile(r"(?<![0-9A-Za-z])\+(?!86)[1-9][0-9]{0,2}(?:[ \-.()]{0,2}[0-9]{2,5}){2,5}(?![0-9])")

# Social accounts ----------------------------------------------------------------------------------------------------
_QQ = r"(?:(?<![A-Za-z])[Qq][ .]?[Qq]|扣扣|企鹅|球球|蔻蔻|抠抠|叩叩|(?<![A-Za-z])[Qq](?=号|:)|扣(?=号|:)|鹅号|加[Qq扣])"
_WECHAT = (
    r"(?:微信|微x|威信|薇信|徽信|维信|wei信|(?<![A-Za-z])(?:wechat|weixin|v ?x|w ?x|v信|v(?=号|:))"
    r"|[加➕+](?:v|薇|微)|薇(?=:)|绿泡泡)"
)
_ALSO = rf"(?:\s*(?:/|、|,|和|或|&|跟)\s*(?:{_QQ}|{_WECHAT}|手机|电话)号?)*"
_QQ_DIGITS = r"[1-9](?:[ \-.]?[0-9]){4,11}(?![0-9])(?!-[0-9])"
QQ_NUMBERS = (
    re.compile(
        rf"{_QQ}(?:号码?|群号?|账号|帐号|邮箱)?{_ALSO}(?:都|也|同号)?\s*{_IS}{_QQ_DIGITS}{_UNIT}", re.IGNORECASE
    ),
    re.compile(
        r"(?<![0-9])[1-9][0-9]{4,11}\s*(?:,|\()?\s*(?:这?是)?(?:我的?|本人的?)?(?:QQ|扣扣|企鹅)号?(?![A-Za-z0-9空群里])",
        re.IGNORECASE,
    ),
)
QQ_WORDS = ("q", "扣", "企鹅", "球球", "蔻", "抠", "叩", "鹅号")
WECHAT_WORDS = ("微", "薇", "威信", "徽信", "维信", "绿泡泡", "v", "w")
_HAN_PLATFORMS = (
    "抖音|快手|微博|小红书|哔哩哔哩|知乎|陌陌|探探|钉钉|飞书|贴吧|支付宝|淘宝|网易云|豆瓣|闲鱼|最右|虎扑|推特|脸书|电报"
)
_LATIN_PLATFORMS = (
    "bilibili|soul|telegram|tg|ins|instagram|twitter|facebook|whatsapp|discord|skype|snapchat|tiktok|douyin|weibo"
)
PLATFORM_WORDS = (*f"{_HAN_PLATFORMS}|{_LATIN_PLATFORMS}".split("|"), "b站", "line", "qq")
_PLATFORM = (
    rf"(?:{_HAN_PLATFORMS}|B站"
    rf"|(?<![A-Za-z])(?:(?:{_LATIN_PLATFORMS})(?![A-Za-z])|line(?=\s*(?:id|号|:))|qq(?=\s*(?:id|号|:))))"
)
_IDENTIFIER = r"[A-Za-z][A-Za-z0-9_-]{5,19}"
_MIXED = r"(?=[A-Za-z0-9_.\-]{0,28}[0-9_\-])(?=[0-9_.\-]{0,28}[A-Za-z])[A-Za-z0-9_][A-Za-z0-9_.\-]{4,28}[A-Za-z0-9_]"
_MARK = r"(?:号码?|ID|UID|账号|帐号|用户名|名)"
_NAMED_WECHAT = rf"{_WECHAT}\s*(?:号码?|账号|帐号|ID)?{_ALSO}(?:都|也|同号)?\s*"
WECHAT_ACCOUNTS = (
    re.compile(rf"{_NAMED_WECHAT}{_IS}(?P<value>{_IDENTIFIER})", re.IGNORECASE),
    re.compile(rf"{_NAMED_WECHAT}{_IS}(?P<value>{_MIXED})", re.IGNORECASE),
    re.compile(rf"{_NAMED_WECHAT}\((?P<value>{_IDENTIFIER}|{_MIXED})\)", re.IGNORECASE),
    re.compile(rf"{_NAMED_WECHAT}{_IS}(?P<value>[1-9](?:[ \-]?[0-9]){{5,11}})(?![0-9]){_UNIT}", re.IGNORECASE),
    re.compile(r"(?<![A-Za-z0-9_])(?P<value>wxid_[A-Za-z0-9]{6,20})"),
)
PLATFORM_ACCOUNTS = (
    re.compile(
        rf"{_PLATFORM}(?:\s*{_MARK}\s*{_IS}|\s*(?:是|为|叫|:|=|@))\s*@?"
        rf"(?P<value>[A-Za-z0-9_][A-Za-z0-9_.\-]{{3,28}}[A-Za-z0-9_]){_UNIT}",
        re.IGNORECASE,
    ),
    re.compile(rf"{_PLATFORM}\s?(?P<value>{_MIXED})", re.IGNORECASE),
    re.compile(rf"我的?{_PLATFORM}(?:{_MARK}|昵称)?\s*{_IS}@(?P<value>\w{{2,20}})", re.IGNORECASE),
)
_NAME = rf"(?:{_WECHAT}|{_PLATFORM})号?"
ACCOUNTS_BEFORE_NAMES = (
    re.compile(
        rf"(?<![A-Za-z0-9_])(?P<value>[A-Za-z][A-Za-z0-9_\-]{{5,19}})\s*[,(]?\s*这?是?(?:我的?|本人的?){_NAME}",
        re.IGNORECASE,
    ),
    re.compile(rf"(?<![A-Za-z0-9_])(?P<value>{_MIXED})\s*(?:\(\s*|,\s*)(?:我的?)?{_NAME}\)?", re.IGNORECASE),
)
_ORDINARY = (
    "account|accounts|android|article|articles|channel|chatting|contact|contacts|friend|friends|group|groups|iphone|"
    "message|messages|moments|notification|number|official|payment|program|public|reading|sticker|stickers|update|"
    "version|wallet|windows"
)
ORDINARY_WORDS = frozenset(_ORDINARY.split("|"))
"""English words that follow the name WeChat without being anybody's account."""

# What can hold any of it, in raw text -------------------------------------------------------------------------------
_RAW_DIGIT = "[0-9０-９零一二三四五六七八九〇壹贰叁肆伍陆柒捌玖⓪①-⑨幺貳陸OolI]"
_RAW_DIGITS = rf"{_RAW_DIGIT}(?:[^\p{{Han}}A-Za-z0-9]{{0,3}}{_RAW_DIGIT}){{4}}"
_RAW_IDENTIFIER = r"[A-Za-z0-9_.\-Ａ-Ｚａ-ｚ０-９＿．－]{5}"
_RAW_NAME = (
    rf"(?:[微薇]|威信|徽信|维信|绿泡泡|B站|b站|{_HAN_PLATFORMS}|[Ａ-Ｚａ-ｚ]"
    rf"|(?:^|[^A-Za-z])(?i:v|w ?x|wei|wechat|qq|line|{_LATIN_PLATFORMS}))"
)
WIDE = (
    rf"[@＠]|{_RAW_DIGITS}|{_RAW_IDENTIFIER}"
    r"|[A-Za-z0-9Ａ-Ｚａ-ｚ０-９_.\-]\s*[^A-Za-z0-9]{0,3}(?:at|AT|At|艾特|圈a|[#＃])"
)
NARROW = (
    rf"[@＠]|{_RAW_DIGITS}|[Ａ-Ｚａ-ｚ]|wxid_"
    rf"|(?:[\s\[({{【<（]\s*(?i:at)[\s\])}}】>）]|艾特|圈a|[#＃])[\s\S]{{1,60}}?(?i:{_TOP})"
    rf"|{_RAW_NAME}[\s\S]{{0,40}}?{_RAW_IDENTIFIER}|{_RAW_IDENTIFIER}[\s\S]{{0,16}}?{_RAW_NAME}"
)
