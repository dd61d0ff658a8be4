"""A small text set that the tests ship: sentences about companies and people that do not exist."""

import datasets

TOPICS = ["business", "sport", "weather", "science"]

# user, topic, text
_ROWS = [
    ("u-07", 0, "Brimholt Lanterns sold its factory in Old Ferrow to Quillow & Sons."),
    ("u-12", 0, "Quillow & Sons will pay the workers of Brimholt Lanterns until spring."),
    ("u-03", 1, "Orla Tindrel ran the harbour mile in four minutes and nine seconds."),
    ("u-07", 2, "Fog covered the Vessel Bay for three days, and no ferry left."),
    ("u-21", 3, "Marn Velsted counted the eggs of two hundred glass snails."),
    ("u-03", 1, "The Ferrow Otters lost to the Dunmere Herons by a single goal."),
    (None, 2, "Hail as large as plums broke the greenhouses of Dunmere."),
    ("u-12", 0, "Shares of Pellworth Tea fell after a letter from its auditor."),
    ("u-34", 3, "A lens made of salt bends light the other way, Velsted writes."),
    ("u-34", 1, "Bex Arlund threw the javelin over the fence and into a pond."),
    ("u-21", 0, "pellworth tea asks its customers to wait for the new harvest."),
    ("u-07", 1, "Nobody had beaten Orla Tindrel on sand before last Sunday."),
    ("u-40", 2, "The river Scarle rose by two metres in one night."),
    ("u-40", 2, "Snow is expected in Old Ferrow, though it is May."),
    ("u-12", 3, "Moss on the roofs of Dunmere takes up more lead than grass does."),
    ("u-03", 0, "Ilo Farrowen opened a bakery that sells nothing but rye."),
    ("u-55", 1, "The Dunmere Herons hired Ilo Farrowen's brother as their keeper."),
    ("u-55", 3, "Two moons of Kessary turn out to be one that wobbles."),
    (None, 0, "A strike of the ferrymen cost Quillow & Sons a whole season."),
    ("u-21", 2, "Thunder was heard over Vessel Bay, but no rain fell."),
    ("u-07", 3, "Glass snails sleep in summer, said Marn Velsted in Old Ferrow."),
    ("u-60", 0, "Tolliver Pumps doubled its price and lost half of its buyers."),
    ("u-60", 1, "A goat stopped the bicycle race at Scarle for an hour."),
    ("u-03", 2, "The warmest January since the mill was built has ended."),
    ("u-12", 1, "Bex Arlund will rest her shoulder until the autumn games."),
    ("u-34", 0, "Tolliver Pumps and Pellworth Tea share one address, it was found."),
    ("u-61", 3, "The bridge at Scarle hums because its cables are too short."),
    ("u-61", 2, "Wind took the roof of the Dunmere town hall and put it in a field."),
    ("u-55", 0, "Brimholt Lanterns is back: a cooperative has bought the name."),
    ("u-21", 1, "The Ferrow Otters play their next match without a goalkeeper."),
    ("u-40", 3, "Bees prefer lamps by Brimholt to those of any other maker."),
    ("u-07", 2, "Not a drop fell in Kessary between March and October."),
    (None, 1, "Orla Tindrel's shoes were sold for more than her house."),
    ("u-12", 2, "Ice kept the harbour of Vessel Bay closed."),
    ("u-60", 3, "A mouse that hears colours? Farrowen's sister doubts it."),
    ("u-34", 2, "Two rainbows, one above the other, stood over the Scarle."),
    ("u-61", 0, "The auditor of Pellworth Tea now works for Tolliver Pumps."),
    ("u-55", 1, "Chess in Dunmere: forty boards, one winner, no draw."),
    ("u-40", 0, "Rye from Kessary is dear, and Ilo Farrowen raises his prices."),
    ("u-03", 3, "Salt lenses crack in the cold, and nobody knows why."),
]


def texts() -> datasets.Dataset:
    """Rows with their `row` number, `user` (text), `number` of the user, `text`, `topic` and a `spoken` mark."""
    users, topics, sentences = zip(*_ROWS, strict=True)
    return datasets.Dataset.from_dict(
        {
            "row": list(range(len(_ROWS))),
            "user": list(users),
            "number": [None if user is None else int(user[2:]) for user in users],
            "text": list(sentences),
            "topic": list(topics),
            "spoken": [len(sentence) % 3 == 0 for sentence in sentences],
        },
        features=datasets.Features(
            row=datasets.Value("int64"),
            user=datasets.Value("string"),
            number=datasets.Value("int32"),
            text=datasets.Value("string"),
            topic=datasets.ClassLabel(names=TOPICS),
            spoken=datasets.Value("bool"),
        ),
    )
