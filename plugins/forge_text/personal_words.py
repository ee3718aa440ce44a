"""The words that the gates and the rules of `forge_text.personal` share; nothing is compiled here.

The gates pick the texts that the rules look at. A table without such a text needs no rule, and their hundred regular
expressions take a fifth of a second to compile.
"""

from __future__ import annotations

EMAIL = "EMAIL"
IDENTITY = "ID"
PHONE = "PHONE"
QQ = "QQ"
WECHAT = "WECHAT"
SOCIAL = "SOCIAL"
BANK = "BANK"
PASSPORT = "PASSPORT"
"""The kinds of personal data."""

TRADITIONAL = dict(
    zip(
        "號碼電話機聯絡繫郵證點維帳賬發給線撥訊紅書圍釘飛臉報鵝綠軟係這訂單運編學貨價萬塊熱寫貼網雲劃減後間衛戶員聲轉",
        "号码电话机联络系邮证点维帐账发给线拨讯红书围钉飞脸报鹅绿软是这订单运编学货价万块热写贴网云划减后间卫户员声转",
        strict=True,
    )
)
"""The characters of the rules' words that are written otherwise in traditional Chinese; Cantonese 係 says 是."""

ANIMALS = "🐶🐕🐭🐁🐀"  # pictures that stand for the @, which Chinese calls a mouse and others a dog
TOP = r"(?:com|cn|net|org|edu|gov|io|me|top|xyz|cc|info|hk|tw|uk|us|de|jp)"
PROVIDER = r"(?:qq|QQ|163|126|139|gmail|Gmail|foxmail|outlook|hotmail|sina|sohu|yeah|yahoo|icloud)"
ENGLISH_DIGIT = r"(?:zero|oh|one|two|three|four|five|six|seven|eight|nine)"
PINYIN_DIGIT = r"(?:ling|yi|yao|er|san|si|wu|liu|qi|ba|jiu)"
HEARTS = "❤♥♡💕💗💓💖"  # stand for the second character of WeChat's name
BREAK = r"[ *·./_-]{0,2}"  # put between the characters of a name to hide it
HAN_NAMES = (
    "抖音|斗音|微愽|微搏|徽博|小破站|快手|微博|小红书|小红薯|围脖|哔哩哔哩|知乎"
    "|陌陌|探探|钉钉|飞书|贴吧|支付宝|淘宝|网易云|豆瓣|闲鱼|最右|虎扑|推特|脸书|电报"
)
HAN_PLATFORMS = "|".join(BREAK.join(name) for name in HAN_NAMES.split("|")) + "|抖yin|dou音"
LATIN_PLATFORMS = (
    "bilibili|soul|telegram|tg|ins|insta|instagram|ig|twitter|facebook|fb|whatsapp|discord|skype|snapchat|snap|tiktok|"
    "douyin|dy|d音|weibo|wb|xhs|kik|steam|reddit|kakaotalk|kakao|viber|linkedin|pinterest|tumblr|twitch|mastodon|bluesky|"
    "roblox|psn|lofter|the ?gram"
)
