"""How Chinese characters with several readings are read where the dictionaries (jieba, pypinyin) choose wrong."""

from __future__ import annotations

import re

from pypinyin import Style, lazy_pinyin

_PEOPLE = "先生|女士|小姐|老师"
# A rule matches one character, or has it as its last group; what stands around it decides. Later rules win.
_READINGS: tuple[tuple[str, str], ...] = (
    # 长: long, not to grow
    ("(?<=[很太真挺够超更最])长(?![大高胖])", "chang2"),
    ("长(?=[的得]?(?:离谱|要命|吓人|惊人|可怕|过分)|得多|得很|多了|长的)", "chang2"),
    ("(?<=[他她它我你们])长(?=[得大高胖成])", "zhang3"),
    # 还: to give back, not still
    ("还(?=[钱款债账帐贷书清息本给掉价愿俗魂手击席礼]|[得不][起清了]|了[钱债书我他她你]|[我你][钱书])", "huan2"),
    ("(?<=[要该得])还(?=的$|的时候)", "huan2"),
    ("还(?=本[来就])|还(?=给力)|(?<![归偿退])还(?=清[楚晰])", "hai2"),
    # 行: a line
    ("(?<=[第上下末每][一二三四五六七八九十百])行(?![人动为走驶进程])", "hang2"),
    ("(?<=[一二两三四五六七八九十百几每])行(?=字|诗|代码|文|数据|泪)", "hang2"),
    ("(?<=行)行(?=规|业|家|话|情|列|距)", "hang2"),
    # 得: must; 地: of adverbs
    ("(?<=[我你他她它们您咱就还也总都可])得(?=[去走来看问做吃睡赶先再把给想学回买找等说跟让用靠])(?!看[出见])", "dei3"),
    (r"([\u4e00-\u9fff])\1(地)(?![铁球方面下上区板图震址位理点])", "de5"),
    # 了: to be able
    ("(?<=[受忘做免吃干跑走拿睡忙等办用帮少变错改好]不)了(?![解结断])", "liao3"),
    # Names
    ("(?<=姓)曾|曾(?=国藩|志伟|巩|{people})", "zeng1"),
    ("(?<=姓)单|单(?={people})|单(?=雄信|田芳)", "shan4"),
    ("单(?=于[的王率入大之])", "chan2"),
    ("(?<=姓)任|任(?={people}|正非|贤齐|天堂)", "ren2"),
    ("任(?=天堂)", "ren4"),
    ("(?<=姓)仇|仇(?={people}|英)", "qiu2"),
    ("(?<=姓)解|解(?={people}|缙|晓东)", "xie4"),
    ("(?<=姓)区|区(?={people})", "ou1"),
    ("(?<=姓)查|查(?={people}|良镛)", "zha1"),
    ("(?<=姓)朴|朴(?={people}|槿惠|树)", "piao2"),
    ("(?<=姓)华|华(?={people}|佗|罗庚)", "hua4"),
    # Single words
    ("(?<![士卿])大(?=夫(?!人))", "dai4"),
    ("都(?=市(?![场民长值]))|(?<=首|古|成|故)都", "du1"),
    ("为(?=人(?:处世|师表|父母|正直|善良|所知|知晓))|(?<=[分改译换选评列定])为", "wei2"),
    ("落(?=下(?:来|去|了?帷幕|脚|定))|(?<=[掉降飘])落(?=下)", "luo4"),
    ("(?<=[旋打自公空])转(?![移身变换折达告发让送])|转(?=圈|悠|盘|轮|速|筒|椅)", "zhuan4"),
    ("数(?=一数|[数不]清|一下|[到着]|来宝|落|九寒天)|(?<=数一)数(?![字据量])|(?<![少无])数(?=数)", "shu3"),
    ("卷(?=子(?![里内]?面))", "juan4"),
    ("卷(?=子头)", "juan3"),
    ("(?<![大小一关急迫亲密贴确])切(?=[菜肉片块开断割换除入丝丁碎]|水果|蛋糕|西瓜|成)", "qie1"),
    ("蒙(?=[古])", "meng3"),
    ("中(?=肯)", "zhong4"),
    ("琢(?=磨(?:[着出透]|不透|一下|了))", "zuo2"),
    ("背(?=着(?:包|书包|行李|孩子|枪|重担|锅)|包|负|黑锅)", "bei1"),
    ("重(?=[新复来做写启置建装试返逢演申现播叠组温读拍印])", "chong2"),
    ("重(?=[要量点大心力工视任伤创])", "zhong4"),
    ("朝(?=[夕气晖]|三暮)", "zhao1"),
    ("(?<=[睡找点])着(?=了|$)|着(?=火|凉|急|迷)", "zhao2"),
    ("的(?=确|士(?!兵))", "di2"),
    ("(?<=打)的(?=$|去|回|到|来)", "di1"),
    ("薄(?=荷)", "bo4"),
    ("差(?=[遣使]|旅)|(?<=[出公])差(?![距别错异])", "chai1"),
    ("参(?=差)", "cen1"),
    ("(?<=参)差", "ci1"),
    ("(?<=[人海党西苦玄])参(?![加与考观军赛选])", "shen1"),
    ("血(?=淋淋)", "xie3"),
)  # fmt: skip
_RULES = [(re.compile(pattern.replace("{people}", _PEOPLE)), reading) for pattern, reading in _READINGS]


def pinyin_of(words: list[str]) -> list[list[str]]:
    """Pinyin with tones 1 to 5 of the words that a run of Chinese characters was cut into, character by character; an
    unknown character stands for itself."""
    run = "".join(words)
    readings = _dictionary(run)
    at = 0
    for word in words:
        # A word of several characters has its own reading; one alone is read by what is around it.
        if len(word) > 1:
            readings[at : at + len(word)] = _dictionary(word)
        at += len(word)
    for pattern, reading in _RULES:
        for match in pattern.finditer(run):
            readings[match.start(match.lastindex or 0)] = reading
    rest = iter(readings)
    return [[next(rest) for _ in word] for word in words]


def _dictionary(run: str) -> list[str]:
    return lazy_pinyin(run, style=Style.TONE3, neutral_tone_with_five=True, errors=list)  # type: ignore[arg-type]  # it may give several
