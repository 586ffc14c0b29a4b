"""Chinese characters with several readings, by what stands around them."""

from __future__ import annotations

import jieba
import pytest

from deployments.kokoro.chinese import ChineseG2P
from deployments.kokoro.polyphones import pinyin_of

# The reading of the character before each pair of brackets.
SENTENCES = """
就长(chang2)的离谱 长(chang2)得离谱 时间长(chang2)得很 这条路很长(chang2)
他长(zhang3)得很高 孩子长(zhang3)大了 长(chang2)城很长(chang2)
头发长(zhang3)出来了 长(chang2)发飘飘 校长(zhang3)讲话 队长(zhang3)来了 他长(zhang3)胖了
我要还(huan2)钱 还(huan2)钱给我 把书还(huan2)给他 还(huan2)清债务 他还(hai2)没来
还(hai2)有三天 明天还(huan2)书 归还(huan2)图书 还(huan2)款日 还(hai2)是算了
还(hai2)本来 偿还(huan2)贷款 他还(hai2)不知道
银行(hang2)里 行(hang2)长来了 第三行(hang2) 一行(hang2)字 行(xing2)走江湖 一行(xing2)人 自行(xing2)车
重(chong2)新开始 很重(zhong4) 重(zhong4)要 重(chong2)复一遍
我得(dei3)去了 他得(de2)到了奖 慢慢地(de5)走 地(di4)上有水 天天坐地(di4)铁
姓曾(zeng1) 曾(ceng2)经来过 单(shan4)先生 姓任(ren2) 任(ren4)务 仇(qiu2)先生 报仇(chou2) 解(xie4)女士 解(jie3)放
大(dai4)夫说 士大(da4)夫 都(du1)市里 他们都(dou1)是 为(wei4)了 分为(wei2)两部分
旋转(zhuan4) 转(zhuan3)身 转(zhuan4)圈 数(shu3)一数(shu3) 数(shu4)字 卷(juan4)子 花卷(juan3) 切(qie1)菜 一切(qie4)
蒙(meng3)古 蒙(meng1)骗 中(zhong4)肯 中(zhong1)国 背(bei1)包 背(bei4)后 睡着(zhao2)了 看着(zhe5)他 着(zhao2)急
的(di2)确 目的(di4) 我的(de5) 薄(bo4)荷 出差(chai1) 差(cha1)别 人参(shen1) 参(can1)加 受不了(liao3) 走了(le5)
音乐(yue4) 快乐(le4) 便(pian2)宜 方便(bian4) 给(ji3)予 睡觉(jiao4) 觉(jue2)得 朝(chao2)阳区
"""


@pytest.mark.parametrize("marked", SENTENCES.split())
def test_the_reading_in_its_place(marked: str) -> None:
    text, wanted = "", {}
    for part in marked.replace(")", "(").split("("):
        if part.isascii() and part:
            wanted[len(text) - 1] = part
        else:
            text += part
    found = [pinyin for word in pinyin_of(jieba.lcut(text)) for pinyin in word]
    assert {place: found[place] for place in wanted} == wanted


def test_every_character_has_one_reading() -> None:
    words = ["你好", "龦", "世界", "𠀂"]
    assert [len(readings) for readings in pinyin_of(words)] == [2, 1, 2, 1]
    assert pinyin_of([]) == []


def test_they_are_spoken_so() -> None:
    g2p = ChineseG2P(english=str)

    def sounds(text: str) -> str:
        return g2p.phonemes(text).replace(" ", "")

    assert sounds("就长的离谱") == sounds("就常的离谱") != sounds("就掌的离谱")
    assert sounds("我要还钱") == sounds("我要环钱") != sounds("我要孩钱")
