"""The regular expressions by which `forge_text.personal_rules` finds accounts; they read shadows.

An account is told by the name of its service. The names are many and looked for once; what follows on a name
(`AFTER_…`) is tried there alone, which takes a fifth of the time of one long expression each.
"""

from __future__ import annotations

import re

from forge_text.personal_patterns import MEASURE, UNIT
from forge_text.personal_words import BREAK, HAN_NAMES, HAN_PLATFORMS, HEARTS, LATIN_PLATFORMS


def _compiled(*expressions: str) -> tuple[re.Pattern[str], ...]:
    return tuple(re.compile(expression, re.IGNORECASE) for expression in expressions)


_IS = r"(?:(?:就?是|为|叫|:|=|-{1,2}|→)\s*+){0,2}[\"'`“‘「『\[【<]?"
_QQ = (
    r"(?:(?<![A-Za-z])[Qq][ .]?[Qq]|扣[ *.]?扣|口口(?=号|:| ?[1-9][0-9]{4})|(?<![A-Za-z])[Qq]我(?= ?:| ?[1-9])"
    r"|企鹅|球球|蔻蔻|抠抠|叩叩|秋秋|丘丘|🐧"
    r"|(?<![A-Za-z])qiu ?qiu|鹅号"
    r"|(?<![A-Za-z])[Qq](?=号|:)|(?<=[我的])[Qq](?=是|[1-9][0-9]{5})|扣(?=号|:)|[加+➕][个我]?[Qq扣])"
)
_HEART = rf"(?:[{HEARTS}]\ufe0f?)"
_WECHAT = (
    rf"(?:微{BREAK}信|微讯|微x|[威薇徽维]信|[威薇徽]芯|[微威薇维]{_HEART}|wei信|卫星(?=号|:)|(?<=加)卫星"
    r"|(?<![气象导航通信侦察人造北斗])卫星 ?(?=(?-i:[a-z])[A-Za-z0-9]*[_\-0-9])"
    rf"|(?<![A-Za-z])(?:we[ -]?chat|wei[ -]?xin|[vw](?: |{_HEART})?x(?!_)|[vw]信|v{_HEART}|w{_HEART}|v(?=号|:)|vx?号)"
    r"|[加➕+] ?(?:v|薇|微)|薇(?=:)|(?<![稍些轻细])微(?=:)|(?:微|薇|(?<![A-Za-z])v)我|绿泡泡|绿色软件)"
)
_OF_MANY = r"(?:[小大新老主副私工][\u4e00-\u9fff]?号|备用号?|账号|帐号|号码?)"
"""Which of a person's accounts it is."""
_ALSO = rf"(?:\s*+(?:/|、|,|和|或|&|跟)\s*+(?:{_QQ}|{_WECHAT}|手机|电话)号?)*"
_SAID = r"(?:[哈吧哦呀啊呢嘛聊]{1,2}[?!]?|上?(?:可以|直接)?(?:我?叫|搜索?|加|找|查|戳)我?)?"
"""What people put between a name and an account."""
_QQ_DIGITS = r"[1-9](?:[ \-.]?[0-9]){4,11}(?![0-9])(?!-[0-9])"
_QQ_GROUPS = r"[1-9][0-9]{2,3}(?:[,、·…] ?[0-9]{3,4}){1,2}(?![0-9])(?!,[0-9])"
_QQ_LETTERS = r"(?=(?:[OolI]*[0-9]){6})[1-9][0-9OolI]{5,10}(?![0-9A-Za-z])"
_ABOUT_QQ = r"(?:(?![码单价分级钱奖量数转借付充欠亏赚赢输])[^0-9。!?;\n]){0,10}"
"""What may stand between the name and a number of its own: nothing that says what else is counted."""
_NO_DATE = r"(?!(?:19|20)[0-9]{2}[01][0-9][0-3][0-9](?![0-9]))"
_NOT_ROUND = r"(?![0-9]{1,8}0000(?![0-9]))"
QQ_NUMBERS = (
    re.compile(rf"(?<=我的)(?:[Qq]{{2}}|扣扣)\s*+,\s*+[1-9][0-9]{{5,10}}(?![0-9]){UNIT}(?![月日号])"),
    re.compile(
        rf"{_QQ}\s*+(?:{_OF_MANY}|(?:交流|学习|官方|粉丝|互助)?群(?:号|主)?|邮箱|number|no\.|id|handle)?{_SAID}{_ALSO}(?:都|也|同号|同步)?\s*+"
        rf"(?:{_IS}|is\s++)(?:{_QQ_DIGITS}|{_QQ_GROUPS}|{_QQ_LETTERS})"
        rf"(?:(?:\s*+(?:[、,/]|或者?|和)\s*+|\s++)[1-9][0-9]{{5,10}}(?![0-9]))*{UNIT}",
        re.IGNORECASE,
    ),
    re.compile(rf"{_QQ}号?(?:吗|么|嘛)?\s*+[?,!]\s*+我的?(?:是|:)\s*+[1-9][0-9]{{5,10}}(?![0-9]){UNIT}", re.IGNORECASE),
    re.compile(rf"(?<![折抵回暂被罚])扣我?\s*+(?=(?:[^0-9]?[0-9]){{7}})(?:{_QQ_DIGITS}|{_QQ_GROUPS}){MEASURE}"),
    re.compile(
        r"(?<![0-9])[1-9][0-9]{4,11}\s*+(?:,|\()?\s*+[这那就也都个是]{0,5}(?:我的?|本人的?)?(?:QQ|扣扣|企鹅)号?(?![A-Za-z0-9空群里会音])",
        re.IGNORECASE,
    ),
    re.compile(
        rf"{_QQ}(?:{_ABOUT_QQ}(?:[:是]|[改换]成|(?<=[吧呗啊哦呀哈嘛]),|(?<![A-Za-z])at\s)|号?\s*+\()"
        rf"\s*+{_NO_DATE}{_NOT_ROUND}[1-9][0-9]{{5,10}}(?![0-9]){UNIT}"
        rf"|{_QQ}{_ABOUT_QQ},\s*+{_NO_DATE}{_NOT_ROUND}[1-9][0-9]{{7,10}}(?=\s*+(?:$|[,。!?;)\n]|\.(?:\s|$)))",
        re.IGNORECASE,
    ),
)
QQ_WORDS = ("q", "扣", "口口", "企鹅", "球球", "蔻", "抠", "叩", "鹅号", "秋秋", "丘丘", "🐧")
_WECHAT_NAMES = (
    "微信|微讯|威信|威芯|薇芯|徽芯|徽信|维信|微x|微我|卫星|绿泡泡|绿色软件|微:|加微|+微|➕微|薇"
    "|vx|wx|v信|w信|wei信|wechat|weixin|v:|v号|加v|+v|➕v|v我"
)
WECHAT_WORDS = (*_WECHAT_NAMES.split("|"), *HEARTS)
_SITES = (
    r"(?:weibo\.com(?:/u)?|instagram\.com|tiktok\.com|douyin\.com/user|xiaohongshu\.com/user/profile|facebook\.com"
    r"|twitter\.com|zhihu\.com/people|space\.bilibili\.com|linkedin\.com/in|snapchat\.com/add)"
)
PLATFORM_WORDS = (
    *re.sub(r"\(\?:/[a-z]+\)\?|[^a-z|]", "", _SITES[3:-1]).split("|"),
    *LATIN_PLATFORMS.replace(" ?", "").split("|"),
    *HAN_NAMES.split("|"),
    "抖yin",
    "dou音",
    "b站",
    "line",
    "dc:",
    "uid",
    "qq",
    "tme",
)
_PLATFORM = (
    rf"(?:{HAN_PLATFORMS}|B站"
    rf"|(?<![A-Za-z0-9])(?!(?<=[A-Za-z] )(?:soul|steam))(?:(?:{LATIN_PLATFORMS})(?![A-Za-z0-9_])"
    r"|line(?=\s*+,?\s*+的?\s*+(?:id|号|:|账号|用户名|是|叫))|qq(?=\s*+(?:id|号|:))))"
)
_IDENTIFIER = r"[A-Za-z][A-Za-z0-9_-]{5,19}"
_MIXED = r"(?=[A-Za-z0-9_.\-]{0,28}[0-9_\-])(?=[0-9_.\-]{0,28}[A-Za-z])[A-Za-z0-9_][A-Za-z0-9_.\-]{4,28}[A-Za-z0-9_]"
_DOTTED = r"(?=[A-Za-z0-9_.]{5})(?=[0-9_.]*[A-Za-z])[A-Za-z0-9_]+(?:\.[A-Za-z0-9_]+)+"
_ENDINGS = "js|py|md|txt|pdf|docx?|pptx?|xlsx?|html?|exe|apk|zip|rar|mp[34]|jpe?g|png|gif|app|com|cn|net|org|edu|io|ai"
_PAIRED = (
    rf"(?-i:(?![a-z0-9.\-]{{0,24}}\.(?:{_ENDINGS})(?![a-z]))(?=[a-z0-9.\-]{{5,24}}(?![A-Za-z0-9]))"
    r"[a-z][a-z0-9]*(?:[.\-][a-z0-9]{2,12}){1,2})(?![A-Za-z0-9_\-/@])"
)
"""Two words as one, which are no file and no host."""
_HANDLE = r"[A-Za-z0-9_][A-Za-z0-9_.]{2,28}[A-Za-z0-9_]"
_JOINED = (
    r"[A-Za-z0-9_.\-]{0,19}[A-Za-z0-9_]"
    r"(?:(?:\s?(?:下划线|短横线?|横杠|横线|减号|杠|underscore)\s?|(?<=[A-Za-z]) ?点 ?(?=[A-Za-z]))"
    r"[A-Za-z0-9_.\-]{1,20}){1,3}"
)
"""A name whose marks are words."""
_APART = r"[A-Za-z](?: [A-Za-z0-9_]){5,19}(?![A-Za-z0-9_])"
_GIVEN = (
    r"(?:上?(?:搜索?|查找)|[改换]成|[^A-Za-z0-9。!?;\n]{0,4}(?:(?:留|发|给)给?[你您]|联系我?|在这里?|这个|如下)\s*+:"
    r"|[^A-Za-z0-9。!?;\n]{0,3}号是|了\s*+,\s*+新的?(?:是|:))\s*+"
)
"""Words between a name and an account of letters alone: 微信留给你：…"""
_LEFT_AT = r"[^A-Za-z0-9。!?;\n]{0,4}(?:写|留|放|发|贴)[^A-Za-z0-9。!?;\n]{0,6}(?::|是)\s*+"  # 我把VX写在最后:…
_BETWEEN = r"(?:[^A-Za-z0-9。!?;\n]{0,12}|\s*+[,;(]?\s*+(?:and\s++)?(?:my|the|under|as)\s++)"
_MARK = rf"(?:{_OF_MANY}|ID|UID|用户名|名|account|handle|username|user|name)"
WECHAT = re.compile(_WECHAT, re.IGNORECASE)
CALLED_WECHAT = re.compile(rf"{_WECHAT}\s*+(?:{_OF_MANY}|ID)?{_ALSO}(?:都|也|同号|同步)?\s*+", re.IGNORECASE)
AFTER_CALLED_WECHAT = _compiled(
    rf"{_IS}(?P<value>{_JOINED}|{_APART})",
    rf"{_IS}(?P<value>{_IDENTIFIER})",
    rf"(?:{_SAID}\s*+{_IS}|(?:is|at|me at)\s++)@?(?P<value>{_MIXED})",
    rf"\((?P<value>{_IDENTIFIER}|{_MIXED})\)",
    rf"{_IS}(?P<value>[1-9](?:[ \-]?[0-9]){{5,11}})(?![0-9]){UNIT}",
)
AFTER_WECHAT = _compiled(
    rf"\s*+(?:id|account|handle|name|username)\s++is\s++(?P<value>{_IDENTIFIER})",
    rf"号?{_LEFT_AT}(?P<value>{_MIXED})",
    rf"{_GIVEN}(?P<value>{_IDENTIFIER})(?![A-Za-z0-9_ ])",
    rf"\s*+,\s*+[账帐]?号码?(?:就?是|叫|:)\s*+(?P<value>{_MIXED})",
    rf"[^A-Za-z0-9。!?;\n]{{0,16}}(?P<value>{_MIXED})\s*+,?\s*+(?:你|可以|直接|就能)*+(?:搜|加我|查找|找我)",
)
WECHAT_ALONE = _compiled(r"(?<![A-Za-z0-9_])(?P<value>wxid_[A-Za-z0-9]{6,20})")
PLATFORM = re.compile(_PLATFORM, re.IGNORECASE)
AFTER_PLATFORM = _compiled(
    rf"(?:\s*+{_MARK}\s*+(?:{_IS}|is\s++)|\s*+(?:就?是|为|叫|:|=|@))\s*+@?"
    r"(?P<value>(?!(?-i:[A-Za-z][a-z]*) +[A-Za-z])[A-Za-z0-9_][A-Za-z0-9_.\-]{3,28}[A-Za-z0-9_](?:#[0-9]{4})?)"
    rf"{UNIT}",
    rf"\s*+\(@?(?P<value>{_DOTTED}|{_MIXED})\)",
    rf"\s++(?:is|as)\s++(?P<value>@{_HANDLE}|{_IDENTIFIER}#[0-9]{{4}}|{_MIXED})",
    rf"{_SAID}\s*+\)?\s*+(?:me\s++)?(?:at\s++)?@(?P<value>{_HANDLE})",
    rf"{_BETWEEN}{_MARK}\s*+(?:{_IS}|is\s++)@?(?P<value>{_DOTTED}|{_MIXED}){UNIT}",
    rf"{_BETWEEN}(?:号码?|ID|账号|帐号|用户名|username|handle)(?:就?是|叫|:|\s++is)\s*+@?(?P<value>{_IDENTIFIER})",
    rf"(?:号?{_LEFT_AT}|用户\s*+)@?(?P<value>{_MIXED})",
    rf"号?\s*+{_IS}(?P<value>{_JOINED}|live:[A-Za-z0-9_.]{{5,30}})",
    rf"\s*+{_NO_DATE}(?P<value>[1-9](?:[ \-]?[0-9]){{7,11}})(?=\s*+(?:$|[,。!?;)\n]))",
    rf"\s?{_SAID}\s?(?:[-→>]{{1,2}} ?|{_IS})(?P<value>{_MIXED}|{_PAIRED}){UNIT}",
    rf"\s*+(?:{_MARK}\s*+)?{_IS}(?P<value>[A-Za-z0-9_.]{{2,30}}#[0-9]{{4}})(?![0-9])",
    r"\s*+@(?P<value>\w{2,20})\s*+,?\s*+(?:就?是我|是?本人)",
    rf"\s*+(?:,\s*+(?:it's|it is|i'm|i am)|from)\s++@?(?P<value>(?=[A-Za-z])(?=[A-Za-z.]*[0-9_]){_HANDLE}|{_DOTTED})",
)
MINE = re.compile(r"(?:my|我的?(?:大号|小号|个人)?)\s*+$", re.IGNORECASE)
AFTER_MY_PLATFORM = _compiled(
    rf"(?:\s*+{_IS}|(?:\s++is|'s)\s++)@?(?P<value>{_DOTTED}|{_MIXED})",
    rf"(?:{_MARK}|昵称)?\s*+{_IS}@(?P<value>\w{{2,20}})",
)
PLATFORM_ALONE = _compiled(
    rf"(?<![A-Za-z])UID\s*+{_IS}(?P<value>[1-9][0-9]{{6,16}})(?![0-9])",
    r"reddit[^A-Za-z0-9]{0,4}(?:(?:as|at|is)\s++)?u/(?P<value>[A-Za-z0-9_\-]{3,20})",
    r"(?<![A-Za-z])dc\s*+:\s*+(?P<value>[A-Za-z0-9_.]{2,30}#[0-9]{4})(?![0-9])",
    rf"(?P<value>(?<![A-Za-z0-9_@.])@{_HANDLE}|(?<![A-Za-z0-9_@.]){_MIXED})\s++on\s++"
    rf"(?:{LATIN_PLATFORMS}|wechat|line|QQ)(?![A-Za-z0-9_])",
    rf"(?:^|(?<=[^A-Za-z0-9.]))(?:https?://)?(?:www\.|m\.)?(?:t\.me|{_SITES})/@?"
    r"(?P<value>[A-Za-z0-9_][A-Za-z0-9_.\-]{3,30})",
)
_NAME = rf"(?:{_WECHAT}|{_PLATFORM})号?"
BEFORE_NAMES = _compiled(
    rf"(?<![A-Za-z0-9_])(?P<value>[A-Za-z][A-Za-z0-9_.\-]{{4,18}}[A-Za-z0-9_])\s*+[,(]?\s*+这?是?(?:我的?|本人的?){_NAME}",
    rf"(?<![A-Za-z0-9_.])(?P<value>{_DOTTED}|{_MIXED})\s++is\s++my\s++{_NAME}",
    rf"(?<![A-Za-z0-9_])(?P<value>{_MIXED}|{_PAIRED})\s*+(?:\(\s*+|,\s*+)(?:我的?)?{_NAME}\)?",
    rf"(?<![A-Za-z0-9_.])(?P<value>(?!we ?chat|wei ?xin)(?-i:[a-z]{{6,19}}))\s*+\(\s*+(?:我的?)?{_WECHAT}号?\)",
)
SENTENCE = re.compile(r"(?:[^。!?;\n.]|\.(?=\S))+")
_QQ_NAME = re.compile(r"(?<![A-Za-z])QQ(?![A-Za-z])", re.IGNORECASE)
NAMES = (WECHAT, PLATFORM, _QQ_NAME)
_UNDERLINED = (
    r"(?<![A-Za-z0-9_.@/\-])@?(?P<value>(?=[A-Za-z0-9.\-]{0,28}_)(?=[0-9_.\-]{0,28}[A-Za-z])"
    r"[A-Za-z0-9_][A-Za-z0-9_.\-]{3,28}[A-Za-z0-9_])(?![A-Za-z0-9_/@\-])"
)
_PRODUCTS = (
    "iphone|ipad|galaxy|redmi|xiaomi|huawei|honor|mate|nova|vivo|oppo|windows|win|office|python|covid|gpt|chatgpt"
)
_NUMBERED = rf"(?!(?-i:{_PRODUCTS})[0-9])(?-i:[a-z]{{3,16}}[0-9]{{2,8}})"
UNDERLINED = re.compile(_UNDERLINED)
CUED = re.compile(
    rf"(?:[:,(\"'“‘「『→]|[是叫找加搜名]|昵称|[改换]成|(?<![A-Za-z])(?:is|at|as|me|for|i'm)(?=\s))"
    rf"\s*+@?(?P<value>{_NUMBERED}|{_PAIRED})"
    r"(?=\s*+(?:$|[,。!?;)\"'”’」』\n]|\.(?:\s|$)|这?就?是我|[搜找了]|on(?![a-z])))",
    re.IGNORECASE,
)
CUE = re.compile(
    r"[加找叫聊]|(?<!热)搜|联系|私信|关注|留给?[你您]|[发给][你您]|[改换]成|[换改].{0,6}了|是我|我的|名|昵称"
    r"|(?<![a-z])(?:add|find|dm|message|reach|follow|hit|text|chat|i'm|my|handle|user)(?![a-z])",
    re.IGNORECASE,
)
"""What is an account in a sentence that names a service: any word with an underline; where a name stands, and in a
sentence about getting in touch, one with a number at its end, or two words as one."""
COMPOUND = re.compile(r"[a-z]+(?:-[a-z]+)+")
COMPOUND_MARK = re.compile("[\u4e00-\u9fff:@(]")
"""What must stand around two words as one: without it they are a word of English, such as user-friendly."""
GROUP = re.compile(r"\s*+的?群")
BEFORE_NAME, AFTER_NAME = 14, 36
"""Characters between such an account and the name: no more than the gates look over."""
SOUGHT = re.compile(
    rf"(?:找|加|联系|私信|私聊)\s*+[他她我你]?\s*+{_UNDERLINED}"
    r"(?=\s*+(?:$|[,。!?;)\n聊说问要吧就]|\.(?:\s|$)))"
)
_ORDINARY = (
    "account|accounts|android|article|articles|channel|chatting|contact|contacts|friend|friends|group|groups|iphone|"
    "handle|username|nickname|"
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
