"""Numbers in Chinese text that the grammar (deployments.text.fst) reads with a wrong value, or not at all: they are
written so that it reads them right. Everything else is left to the grammar."""

from __future__ import annotations

import re
from collections.abc import Callable

from deployments.text.chinese.numerals import (
    CURRENCIES,
    SUPERSCRIPTS,
    circled,
    date,
    digits,
    fraction,
    money,
    number_range,
    phone,
    power,
    roman_number,
    roman_sign,
    standard,
    version_part,
)
from deployments.text.scripts import HAN

_Reading = str | Callable[[re.Match[str]], str]
_NUMBER = r"\d+(?:\.\d+)?"
_DASH = "[-\u2010-\u2015~～]"
_OTHER_FORMS = str.maketrans(
    {
        **{chr(code): chr(code - 0xFEE0) for code in range(0xFF10, 0xFF1A)},
        **{chr(code): chr(code - 0xFEE0) for code in (*range(0xFF21, 0xFF3B), *range(0xFF41, 0xFF5B))},
        **{
            "−": "-",
            "－": "-",
            "％": "%",
            "∶": ":",
            "￥": "¥",
            "＄": "$",
            "㎡": "m²",
            "㎥": "m³",
            "㎏": "kg",
        },
        **{"㎞": "km", "㎝": "cm", "㎜": "mm", "㎎": "mg", "㎖": "ml", "㏄": "毫升", "℉": "°F", "＋": "+"},
        **{"＝": "=", "µ": "μ"},
    }
)
_LENGTHS = {"km": "公里", "m": "米", "cm": "厘米", "mm": "毫米"}
_UNITS = {
    **{
        "GHz": "吉赫兹",
        "MHz": "兆赫兹",
        "kHz": "千赫兹",
        "KHz": "千赫兹",
        "Hz": "赫兹",
        "dB": "分贝",
        "Ω": "欧姆",
    },
    **{"kWh": "千瓦时", "mAh": "毫安时", "kW": "千瓦", "MW": "兆瓦", "kV": "千伏", "mA": "毫安", "V": "伏"},
    **{"MPa": "兆帕", "kPa": "千帕", "kJ": "千焦", "kcal": "千卡", "μm": "微米", "nm": "纳米", "W": "瓦"},
}
_PER = {"分": "分钟", "时": "小时", **{each: each for each in ("秒", "小时", "天", "日", "周", "月", "年")}}
_OF_RANGES = "%|℃|度|元|天|岁|万|亿|[kc]?m|kg"
_CHAPTERS = "章节卷部篇期届集回幕册编条款类型级季次世代号区组步场页段阶讲课单"
_WON = "战胜|击败|获胜|取胜|领先|落后|逆转|大胜|险胜|完胜|淘汰|力克|战平|横扫|落败|不敌|负于|输给|惜败|告负"
_CRAFT = "歼|轰|运|直|强|东风|神舟|天宫|嫦娥|长征|红旗|鹰击|巨浪|天舟|米格|苏|图|波音|空客|枭龙"
_ISSUERS = r"(?:GB|JB|HJ|YY|QB|YD|DB\d\d)(?:/[TZ])?|ISO|IEC|IEEE|RFC"
# A number with one of these before it, or behind it, is a name: it is read digit by digit.
_NAMED = (
    "QQ|微信|邮编|邮政编码|身份证|股票|代码|编号|学号|工号|账号|帐号|卡号|尾号|单号|订单|房间|密码|验证码|电话|热线|客服|手机"
    "|号码|货号|批号|序列号|车次|航班|拨打|致电|分机|群号|证号"
)
_NAMING = "室|号房|房间|客服|热线"

_FORMS: tuple[tuple[str, _Reading], ...] = (
    (r"(?<=\d)[．](?=\d)", "."),
    (r"(?<=\d)：(?=\d)", ":"),
    (r'"([^"\n]*)"', r"“\1”"),  # the grammar would put a backslash before each straight one
    (r"(?<=\d)\s?[×*✕xX]\s?(?=\d)", "乘"),
)
_STANDARDS: tuple[tuple[str, _Reading], ...] = (
    (
        r"(?<![A-Za-z])([A-Z]{1,5}\d{0,2}(?:/[A-Z]{1,3})?)[ -]?(\d{2,6}(?:\.\d{1,3})*)"
        rf"{_DASH}((?:19|20)\d\d)(?!\d)",
        standard,
    ),
    (r"(?<![A-Za-z])(ISO|IEC|IEEE)[ -]?(\d{3,6}(?:-\d)?):((?:19|20)\d\d)(?!\d)", standard),
    (rf"(?<![A-Za-z\d])({_ISSUERS}) ?(\d{{4,6}})(?![\d.])", lambda match: f"{match[1]} {digits(match[2])}"),
)
_ROMAN_NUMBERS: tuple[tuple[str, _Reading], ...] = (
    (rf"第\s?(?P<roman>[IVXLC]+)\s?(?=[{_CHAPTERS}])", roman_number),
    (rf"(?<![A-Za-z])(?P<roman>I[IVX]+|V?I{{2,3}}|[VX]I+|X[IVX]+)(?=[{_CHAPTERS}度])", roman_number),
    (r"([①-⑳])(\s*(?:[^\W\d_])?)", circled),
)
_NAMES: tuple[tuple[str, _Reading], ...] = (
    (r"\+\d{1,3}[ -]?\d{2,4}(?:[ -]?\d{3,4}){2}(?!\d)", phone),
    (r"(?<![\d-])0\d{2,3}-\d{7,8}(?!\d)", phone),
    (r"(?<![\d-])\(?0\d{2,3}\)[ -]?\d{7,8}(?!\d)", phone),
    (r"(?<!\d)1[3-9]\d[ -]\d{4}[ -]\d{4}(?!\d)", phone),
    (r"(?<!\d)[48]00-\d{3,4}-\d{3,4}(?!\d)", phone),
    (
        rf"((?:{_NAMED})(?:号码?)?[为是:： ]{{0,2}}[A-Z]{{0,3}})(\d{{3,}})(?![\d.]|[年月元万])",
        lambda match: match[1] + digits(match[2], one="幺"),
    ),
    (rf"(?<![\d.A-Za-z])(\d{{3,5}})(?={_NAMING})", lambda match: digits(match[1], one="幺")),
    # In capitals these are paper and gases; as pinyin they would be syllables.
    (r"(?<![A-Za-z])(A|E|O|CO)(\d)(?![\d.])", lambda match: match[1] + digits(match[2])),
    (r"(?<=[A-Za-z])(\d{4,})(?![\d.])", lambda match: digits(match[1])),
    (r"(?<![A-Za-z])([GDCKTZ])(\d{1,4})(?=次)", lambda match: match[1] + digits(match[2], one="幺")),
    (rf"(?<![\d.A-Za-z])(\d{{13,}})(?![\d.,])(?!\s?[{HAN}])", lambda match: digits(match[1], one="幺")),
    (rf"({_CRAFT})-(?=\d)", r"\1"),
    (r"(?<=[A-Za-z])-(?=\d)", " "),
)
_DATES: tuple[tuple[str, _Reading], ...] = (
    (r"(?<!\d)((?:19|20)\d\d)(0[1-9]|1[0-2])(0[1-9]|[12]\d|3[01])(?!\d)", date),
    (rf"(?<!\d)(\d{{4}}){_DASH}(\d{{4}})年", r"\1年到\2年"),
    (r"(?<!\d)((?:19|20)\d\d)(?=[QH][1-4])", lambda match: digits(match[1])),
    (r"(?<!\d)(\d{1,2})[·•](\d{1,2})(?!\d)", lambda match: digits(match[1] + match[2])),
    (r"(?<!\d)9\.11(?=事件|恐怖|袭击)", "九一一"),
)
_QUANTITIES: tuple[tuple[str, _Reading], ...] = (
    (
        rf"(?P<minus>-)?(?P<sign>{'|'.join(map(re.escape, CURRENCIES))})\s?"
        r"(?P<amount>\d+(?:,\d{3})*(?:\.\d+|,\d\d(?!\d))?)\s?(?P<scale>万亿|[万亿千百]+|bn|[kKMmBb](?![A-Za-z]))?",
        money,
    ),
    (r"(?<![\d,])(\d{1,3}(?:,\d{3})+)(?!\d)", lambda match: match[1].replace(",", "")),
    (
        r"(?<!\d)(\d{1,3}(?:[\u00a0\u202f\u2009]\d{3})+|\d{1,3}(?: \d{3}){2,})(?!\d)",
        lambda match: re.sub(r"\s", "", match[1]),
    ),
    (  # versions and numbers of sections, but neither dates nor addresses of machines
        r"(?<![\d.])(?!(?:19|20)\d\d\.)(\d{1,3})\.(\d{1,3})\.(\d{1,3})(?![\d.])",
        lambda match: "点".join(map(version_part, match.groups())),
    ),
    (r"(\d*)([¼½¾⅓⅔⅕⅖⅗⅘⅙⅚⅛⅜⅝⅞])", fraction),
    (
        rf"({_NUMBER})\s?(μg|mg|g|kg)/m[³3]",
        lambda match: f"每立方米{match[1]}{match[2].replace('μg', '微克')}",
    ),
    (r"(\d\s?|/)(km|cm|mm|m)[²2](?![\dA-Za-z])", lambda match: match[1] + "平方" + _LENGTHS[match[2]]),
    (r"(\d\s?|/)(km|cm|mm|m)[³3](?![\dA-Za-z])", lambda match: match[1] + "立方" + _LENGTHS[match[2]]),
    (rf"(?<![A-Za-z])([A-Za-z]|\d+)([{SUPERSCRIPTS}]+)", power),
    (r"(?<![A-Za-z])([A-Za-z]|\d+)\^(\d+)", power),
    (r"(\d+)°(\d+)[′'](\d+)[″\"]", r"\1度\2分\3秒"),
    (r"(\d+)°(\d+)[′']", r"\1度\2分"),
    (rf"({_NUMBER})\s?°F", r"\1华氏度"),
    (rf"({_NUMBER})\s?‰", r"千分之\1"),
    (
        rf"({_NUMBER}\s?)({'|'.join(sorted(_UNITS, key=len, reverse=True))})(?![A-Za-z0-9/])",
        lambda match: match[1] + _UNITS[match[2]],
    ),
    (
        rf"({_NUMBER})\s?([次转个滴])/({'|'.join(_PER)})",
        lambda match: f"每{_PER[match[3]]}{match[1]}{match[2]}",
    ),
)
_SIGNS: tuple[tuple[str, _Reading], ...] = (
    (r"(?<!\d)24/7(?!\d)", "24乘7"),
    (r"(?<=\d)\s?÷\s?(?=\d)", "除以"),
    (r"≈(?=\d)|(?<=\d)\s?≈\s?(?=\d)", "约等于"),
    (r"(?<=\d)\s?≠\s?(?=\d)", "不等于"),
    (r"(?<=\d)\+(?!\d)|(?<=[A-Za-z])\+(?=\d)", "加"),
    (r"(?:№|(?<![A-Za-z])N[oO]\.)\s?(\d+)", r"\1号"),
    (r"(比分\D{0,3}|以)(\d{1,3})-(\d{1,3})(?!\d)", r"\1\2比\3"),
    (rf"(?<![\d.])(\d{{1,3}})-(\d{{1,3}})(?={_WON})", r"\1比\2"),
    (r"(?<=[表图例题式])\s?(\d+)-(\d+)", r"\1杠\2"),
    (rf"(\d(?:{_OF_RANGES}))\s?{_DASH}{{1,2}}\s?(?={_NUMBER}(?:{_OF_RANGES}))", r"\1到"),
    (r"(?<=\d)\s?[\u2010-\u2015~～]{1,2}\s?(?=\d)", "到"),
    (r"(?<![\d.\-/:+])([1-9]\d*(?:\.\d+)?)-([1-9]\d*(?:\.\d+)?)(?![\d.\-/:]|\s?=)", number_range),
)
_RULES = [
    (re.compile(pattern), reading)
    for rules in (_FORMS, _STANDARDS, _ROMAN_NUMBERS, _NAMES, _DATES, _QUANTITIES, _SIGNS)
    for pattern, reading in rules
]
_ROMAN_SIGNS = re.compile("[Ⅰ-Ⅿ]+")
_UNTOUCHED = re.compile(
    r"(<[^|<>\n]+\|[^<>\n]+>|(?:https?://|www\.)[!-~]+|[\w.+-]+@[\w-]+\.[\w.-]+)", re.ASCII
)


def spell_chinese_numbers(text: str) -> str:
    """`text` for the Chinese grammar. `<word|reading>` and addresses are left as they are."""
    parts = _UNTOUCHED.split(text)
    return "".join(part if index % 2 else _spelt(part) for index, part in enumerate(parts))


def _spelt(text: str) -> str:
    text = _ROMAN_SIGNS.sub(roman_sign, text).translate(_OTHER_FORMS)
    for pattern, reading in _RULES:
        text = pattern.sub(reading, text)
    return text
