"""The regular expressions of `forge_text.personal_rules` but for accounts; they read shadows."""

from __future__ import annotations

import re

from forge_text.personal_words import ANIMALS, ENGLISH_DIGIT, PINYIN_DIGIT, PROVIDER, TOP

_GAP = r"[ \-._~/|*·•()\u200b\ufe0f\u20e3]{0,4}"  # between the groups of one number
_COMMA_GAP = r"[ \-._~/|*·•…(),、。\u200b\ufe0f\u20e3]{0,4}"
_SINGLE_GAP = r"[ \-._*/·\u200b\ufe0f\u20e3]{1,3}"  # between digits that stand one by one
UNIT = r"(?!\.[0-9])(?!\s*+(?:元|块|万|亿|人|次|字|年|分|条|件|%|美元|斤|公里|千米|米))"
_HAN = r"(?-i:[\u4e00-\u9fff])"
_COUNTED = r"播放|点赞|访问|浏览|观看|点击|转发|评论|关注|参加|报名|以上|左右|历史"  # what counts go on with
_NOUNS = (
    "金币|积分|钻石|元宝|粉丝|用户|吨|秒|分钟|小时|字节|比特|日元|韩元|欧元|英镑|港币|人民币|光年|公顷|平方|立方|赫兹"
    "|个(?!人)"
)
MEASURE = (
    rf"(?!\.[0-9])(?!\s*+(?:元(?![旦宵])|块钱|万(?!一)|亿|%|美元|斤|公里|千米|{_NOUNS}"
    rf"|(?:人|次|字|年|分|条|件|块|米)(?:{_COUNTED}|了|(?!{_HAN}))))"
)
"""A unit after a number long enough for a telephone: 人 and the like are one only where no word begins with them."""
_CHINA = rf"(?:\(?(?:\+|00)?86\)?{_GAP})?"

# E-mail ------------------------------------------------------------------------------------------------------------
_LATIN = r"A-Za-zÀ-ÖØ-öø-ÿ"
_LOCAL = rf"[{_LATIN}0-9._%+-]{{1,64}}+"
"""What stands before the @, to RFC 5321 at most 64 characters: bounded and never given back, so that a long unbroken
token costs what its length costs and not the square of that."""
_AT = rf"(?:\s*+(?:[\[({{【<]\s*+(?:(?i:at)|@|艾特)\s*+[\])}}】>]|@|艾特|爱特|圈a|小老鼠|老鼠|[{ANIMALS}]|#)\s*+)"
_DOT = r"(?:\s*+(?:[\[({【<]\s*+(?:(?i:dot)|点|\.)\s*+[\])}】>]|\.|。|点|\b(?i:dot)\b|,(?=com|cn))\s*+)"
_INNER = rf"(?:(?:\s*+[\[({{【<]\s*+(?i:dot)\s*+[\])}}】>]\s*+|\s++(?i:dot)\s++){_LOCAL})?"  # sam (dot) parker (at) …
_COUNTRY = rf"(?:{_DOT}(?:cn|hk|tw|uk|au|sg))?"  # behind a domain that could end before: .edu.cn
SITE = re.compile(
    r"(?:looks?|looking|looked|is|was|were|are|be|been|am|me|us|them|it|arrived?|works?|working|met|meet|shop|buy|bought|"
    r"found|find|check|search|site|page|him|her|you|stay|start|end|and|or|available|hosted)\s+at\s",
    re.IGNORECASE,
)
"""What begins ``look at example dot com``, which is a site and not an address."""
EMAILS = (
    re.compile(rf"{_LOCAL}@[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)*\.[A-Za-z]{{2,}}"),
    re.compile(rf"{_LOCAL}{_INNER}{_AT}[A-Za-z0-9-]+(?:{_DOT}[A-Za-z0-9-]+)*?{_DOT}{TOP}{_COUNTRY}(?![A-Za-z0-9])"),
    re.compile(
        rf"{_LOCAL}{_INNER}\s++(?i:at)\s++[A-Za-z0-9-]+(?:\s*+(?:\.|\b(?i:dot)\b|点)\s*+[A-Za-z0-9-]+)*?"
        rf"(?:\s++(?i:dot)\s++|\s*+点\s*+){TOP}{_COUNTRY}(?![A-Za-z0-9])"
    ),
    re.compile(
        rf"(?:邮箱|邮件|e-?mail|E-?mail|EMAIL|mail)[^A-Za-z0-9。!?]{{0,6}}(?P<value>{_LOCAL}\s++(?:at|AT|At)\s++"
        rf"[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)*\.{TOP})(?![A-Za-z0-9])"
    ),
    re.compile(
        rf"(?<![A-Za-z0-9])[A-Za-z0-9][A-Za-z0-9.+_-]{{0,63}}?(?:_at_|-at-|_AT_|-AT-)"
        rf"[A-Za-z0-9]+(?:(?:_dot_|-dot-|_DOT_|-DOT-|\.)[A-Za-z0-9]+)*?(?:_dot_|-dot-|_DOT_|-DOT-|\.){TOP}"
        rf"(?![A-Za-z0-9])"
    ),
    re.compile(
        rf"(?:{_LOCAL}\s*+在\s*+|(?<![A-Za-z0-9])(?=[A-Za-z]*[0-9._])[A-Za-z0-9._%+-]{{2,64}}+\s++(?:at|AT|At)\s++)"
        rf"{PROVIDER}{_DOT}{TOP}(?![A-Za-z0-9])"
    ),
    re.compile(rf"{_LOCAL}@(?:qq|QQ|163|126|139|gmail|foxmail|outlook|hotmail|sina|sohu|yeah)(?![A-Za-z0-9.])"),
)
_AT_PROVIDERS = tuple(f"在{name}" for name in PROVIDER[3:-1].lower().split("|"))
EMAIL_WORDS = ("@", "at", "艾特", "爱特", "圈a", "老鼠", "#", *ANIMALS, *_AT_PROVIDERS)

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
_GROUPS = "|".join(
    (
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
_GROUPED = re.compile(rf"(?<![0-9]){_CHINA}(?:{_GROUPS})(?![0-9]){MEASURE}")
_SINGLE = re.compile(
    rf"(?<![0-9])(?<![0-9][ \-.·]){_CHINA}1{_SINGLE_GAP}[3-9](?:{_SINGLE_GAP}[0-9]){{9}}"
    rf"(?![0-9])(?!{_SINGLE_GAP}[0-9])"
)
MOBILES = (_GROUPED, _SINGLE)
MOBILES_APART = (
    re.compile(
        r"1(?<![0-9]1)(?P<mark>[^0-9 \n\u4e00-\u9fff]{1,2})[3-9](?:(?P=mark)[0-9]){9}(?![0-9])(?!(?P=mark)[0-9])"
    ),
    re.compile(
        r"1(?<![0-9]1)[3-9][0-9](?P<mark>杠|空格?|横杠?|短横|点|(?:[^\w\s,。、;:!?()+=<>%^&]){1,3})[0-9]{4}"
        r"(?P=mark)[0-9]{4}(?![0-9])"
    ),
)
"""Mobile numbers with one and the same mark, any whatever, between all digits or between the groups.

They look behind after their first digit, since `re` finds a literal beginning ten times as fast.
"""
_THEN = (
    r"[\s,.\-]*+(?:后(?:面|一?半段?)?|中间|接着?|然后|再|最后|末尾|尾号)"
    r"(?:是|为|接着?|加上?|跟着?|[两二三四五六七八几]位(?:数字?)?)*+\s*+[,:\-]?\s*+"
)
MOBILE_IN_PARTS = re.compile(rf"1(?<![0-9]1)[3-9][0-9]{{1,8}}(?:{_THEN}[0-9]{{1,8}}){{1,3}}(?![0-9])")
MOBILE = re.compile(r"1[3-9][0-9]{9}")
BACKWARDS_WORDS = ("倒着", "反着", "倒过来", "反过来")
_BACKWARDS = rf"(?:{'|'.join(BACKWARDS_WORDS)})"
MOBILES_BACKWARDS = (
    re.compile(rf"{_BACKWARDS}[^0-9\n]{{0,8}}(?P<value>[0-9]{{9}}[3-9]1)(?![0-9])"),
    re.compile(rf"(?<![0-9])(?P<value>[0-9]{{9}}[3-9]1)(?=[^0-9\n]{{0,8}}{_BACKWARDS})"),
)
MOBILE_WITH_LETTERS = re.compile(
    rf"(?<![0-9A-Za-z])[1lI][3-9][0-9OolI]{_GAP}[0-9OolI]{{4}}{_GAP}[0-9OolI]{{4}}(?![0-9A-Za-z]){MEASURE}"
)
LIST_NUMBER = re.compile(r"(?:^|[\n;、。!?]|[0-9]{7}[,\s]+)[ \t]*[1-9][0-9]?\.$")
FRACTION = re.compile(r"[0-9]+\.[0-9]+")
HEXADECIMAL = re.compile(r"[0-9a-f]{1,16}", re.IGNORECASE)
HEXADECIMAL_BEFORE = re.compile(r"[0-9a-f]+$", re.IGNORECASE)
DECIMAL = re.compile(r"[0-9]\.$")
CIRCLE = "14159265"
"""What follows on ``3.`` in the one number that is written to eleven places and could be a telephone by its digits."""
TELEPHONE_WORD = re.compile(
    r"电话|手机|号码|联系|座机|打给|拨打|致电|短信|呼我|(?:^|[我打])号|(?<![A-Za-z])(?:tel|phone|cell|mobile|call|text|ring|dial|reach|number)",
    re.IGNORECASE,
)
TELEPHONE_AFTER = re.compile(
    r"\s*+,?\s*+(?:(?:(?:is|'s)\s++my|这?是(?:我|本人)的?)\s*+(?:(?:new|old|work|home)\s++)?(?:cell|phone|mobile|tel|number|电话|手机|号码|座机)"
    r"|[合拼连加]起来[就再]?(?:打|是|找)|[\u4e00-\u9fff]{0,6}(?:的|家里?)(?:电话|手机|号码|座机))",
    re.IGNORECASE,
)
NAMED_NUMBERS = (
    re.compile(
        rf"(?<![0-9]){_CHINA}1{_COMMA_GAP}[3-9](?:{_COMMA_GAP}[0-9]){{9}}(?![0-9])(?!{_COMMA_GAP}[0-9]){MEASURE}"
    ),
    re.compile(
        r"(?<![0-9A-Za-z\-+])(?:1[-. ])?(?!8(?:00|33|44|55|66|77|88)|400|9[0-9]{2})[2-9][0-9]{2} ?[-. ]"
        r" ?[2-9][0-9]{2} ?[-. ] ?[0-9]{4}(?![0-9\-])"
    ),
    re.compile(
        rf"(?<![0-9A-Za-z\-+.,])1?(?!8(?:00|33|44|55|66|77|88)|400|9[0-9]{{2}})[2-9][0-9]{{2}}[2-9][0-9]{{6}}"
        rf"(?![0-9A-Za-z\-]){MEASURE}"
    ),
    re.compile(rf"(?<![0-9])(?<![0-9][ \-.·])[2-9](?:{_SINGLE_GAP}[0-9]){{9}}(?![0-9])(?!{_SINGLE_GAP}[0-9])"),
    re.compile(r"(?<![0-9A-Za-z\-+])0[1-9][0-9]{2,3}[ -]?[0-9]{3}[ -]?[0-9]{3,4}(?![0-9\-])"),
    re.compile(r"(?<![0-9A-Za-z\-+.,])(?!800|400)[2-9][0-9]{2}-[0-9]{4}(?![0-9\-])"),
    re.compile(r"(?<![0-9])(?:010|02[0-9]|0[3-9][0-9]{2})[,、] ?[2-9][0-9]{6,7}(?![0-9])"),
    re.compile(
        rf"(?<![0-9])(?<![0-9][ \-.·])0{_SINGLE_GAP}(?:1{_SINGLE_GAP}0|2{_SINGLE_GAP}[0-9]"
        rf"|[3-9]{_SINGLE_GAP}[0-9]{_SINGLE_GAP}[0-9])(?:{_SINGLE_GAP}[0-9]){{7,8}}(?![0-9])(?!{_SINGLE_GAP}[0-9])"
    ),
)
"""Numbers in looser forms, of which a word before or after must say that they are telephones."""

SPOKEN_NUMBERS = (
    re.compile(
        rf"(?<![A-Za-z])(?:(?:double|triple) )?{ENGLISH_DIGIT}"
        rf"(?:[ ,.\-]{{1,3}}(?:(?:double|triple) )?{ENGLISH_DIGIT}){{6,14}}(?![A-Za-z])",
        re.IGNORECASE,
    ),
    re.compile(rf"(?<![A-Za-z])(?:yi|yao)(?:[ \-,.]{{0,2}}{PINYIN_DIGIT}){{10}}(?![A-Za-z])", re.IGNORECASE),
)
SPOKEN_IN_PART = re.compile(
    rf"(?<![A-Za-z0-9])(?:(?:{ENGLISH_DIGIT}(?![A-Za-z])|[0-9]{{1,4}}(?![0-9A-Za-z]))[ ,.\-]{{0,3}}){{3,14}}",
    re.IGNORECASE,
)
"""English words for digits with groups of digits among them; a word before must say that they are a telephone."""
SPOKEN_WORDS = ("zero", "oh", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
PINYIN_DIGITS = dict(zip("ling yi yao er san si wu liu qi ba jiu".split(), "01123456789", strict=True))  # noqa: SIM905
SPOKEN_WORD = re.compile(rf"double|triple|{ENGLISH_DIGIT}|{PINYIN_DIGIT}|[0-9]")
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
    r"[0Oo2-9](?<![0-9A-Za-z][0Oo2-9])(?=[0-9 -]{0,12}[OolI]|(?<=[Oo]))"
    r"[0-9OolI]{2,3}[- ]?[0-9OolI]{3,4}[- ]?[0-9OolI]{4}(?![0-9A-Za-z])"
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
    re.compile(rf"(?<![0-9])(?P<value>{_CHINA}0[0-9]{{2,3}}-[0-9]{{7,8}}{_EXTENSION})(?![0-9])"),
    re.compile(r"(?<![0-9A-Za-z\-])(?P<value>85[23]-[2-9][0-9]{3}[ \-]?[0-9]{4})(?![0-9\-])"),
    re.compile(
        rf"(?<![0-9])(?P<value>{_CHINA}{_AREA}{_GAP}[2-9][0-9]{{2,3}}{_GAP}[0-9]{{4}}{_EXTENSION})(?![0-9]){MEASURE}"
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
    rf"(?![0-9])(?![ \-.][0-9]){MEASURE}"
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
