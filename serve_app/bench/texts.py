"""What the benchmark says: short, medium and long sentences, about twelve words on average."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from pathlib import Path

from serve_app.bench.errors import BenchError

ENGLISH: tuple[str, ...] = (
    "Good morning.",
    "Is anyone there?",
    "Your table is ready.",
    "Thanks, that helps a lot!",
    "Please hold the line.",
    "Two tickets to Lisbon, please.",
    "Turn left at the old mill.",
    "I cannot find my keys again.",
    "The kettle has just boiled.",
    "Who left the garden gate open?",
    "It rained so hard that the street market closed before noon.",
    "Could you move our meeting to Thursday at half past three?",
    "The baker sold her last loaf to a boy in a yellow coat.",
    "We counted eleven herons standing along the frozen canal.",
    "My grandfather repaired clocks, and he was never once on time.",
    "Your parcel left the depot at 8:45 and should arrive today.",
    "If the alarm goes off, walk to the nearest exit and wait outside.",
    "Most of the orchestra was still tuning when the lights went out.",
    "She wrote the address on the back of a concert ticket.",
    "The battery lasts about nine hours, depending on the screen.",
    "Nobody expected the smallest team in the league to win by six points.",
    "Add a pinch of salt, stir twice, and let the dough rest.",
    "The ferry is full, so we will take the bridge instead.",
    "Our next stop is Harbour Street; doors open on the right.",
    "He asked for silence, and for a moment the whole valley obeyed.",
    "Prices rose by 2.4 percent last year, mostly because of energy.",
    "The library keeps its oldest maps in a room without windows.",
    "Can you explain why the second answer is better than the first?",
    "Three painters worked all summer on the ceiling of the station.",
    "I will call you back once the doctor has seen the results.",
    "When the tide goes out, children run across the sand to an island that is gone again by supper.",
    "The engineer drew the valve from memory, checked every number twice, and still forgot which way it "
    "should turn.",
    "Before you change any of the settings, write down the old values, because there is no button that "
    "brings them back.",
    "On clear evenings the astronomers opened the dome early, boiled coffee on a small stove, and "
    "argued about music until dark.",
    "The company began with one rented van and a telephone, and twelve years later it delivers to every "
    "village on the coast.",
    "Although the recipe promises a light and simple cake, it asks for nine eggs, two kinds of sugar, "
    "and a whole free afternoon.",
    "Passengers travelling to the airport should change at the next station, where replacement buses "
    "leave every ten minutes from the main entrance.",
    "He had learned the language from old radio plays, so he ordered his breakfast with the grave "
    "courtesy of a detective about to name the murderer.",
    "The report describes how a single loose cable slowed the trains for three days, and why nobody "
    "thought of looking behind the cupboard.",
    "Every spring the river moves its bed a little to the west, and the farmers, who remember where the "
    "fields used to be, quietly move their fences.",
)

CHINESE: tuple[str, ...] = (
    "早上好。",
    "请稍等一下。",
    "你的外卖到了，请开门。",
    "今天下午会下雨，记得带伞。",
    "我们把会议改到星期四下午三点半，可以吗？",
    "图书馆的旧地图放在一间没有窗户的屋子里。",
    "这块电池大约能用九个小时，具体要看屏幕亮度。",
    "下一站是海港路，请要下车的乘客提前做好准备。",
    "退潮的时候，孩子们跑过沙滩，去看那座傍晚就会消失的小岛。",
    "这家公司起初只有一辆租来的货车和一部电话，十二年后，它的包裹送到了沿海的每一个村庄。",
)

LISTS: dict[str, tuple[str, ...]] = {"en": ENGLISH, "zh": CHINESE}


def read_texts(path: Path) -> tuple[str, ...]:
    """One text per line of a UTF-8 file; blank lines separate and are not spoken."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise BenchError(
            f"cannot read texts from {path}: {error}; give a UTF-8 file, one text per line"
        ) from error
    texts = tuple(line.strip() for line in lines if line.strip())
    if not texts:
        raise BenchError(f"{path} has no text; put one text on each line")
    return texts


def endless(texts: Sequence[str], seed: int) -> Iterator[str]:
    """Every text once per round, each round in another seeded order, so that any prefix is well mixed."""
    order = random.Random(seed)
    while True:
        round_of_texts = list(texts)
        order.shuffle(round_of_texts)
        yield from round_of_texts
