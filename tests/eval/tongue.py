"""Which of the languages of xquad a reply is in, by a method that shares nothing with the program's: letters in runs of one
to four, weighed as naive Bayes does, learned from the articles that no question of the row is about, in each language. A
reply always gets one, however short; `errors` tells how often that is wrong, on sentences of the articles held out."""
import collections, math, os, re
import kit

RUN = 4


def runs_of(text):
    """Runs of letters, words marked at both ends; figures and signs say nothing of a language."""
    for word in re.findall(r"[^\W\d_]+", text.lower()):
        marked = f" {word} "
        for n in range(1, RUN + 1):
            for i in range(len(marked) - n + 1):
                yield marked[i:i + n]


def words_of(text):
    return re.findall(r"\w+", text.lower())


def sentences_of(text):
    return [s for s in re.split(r"(?<=[.!?。؟])\s*|\n+", text) if len(words_of(s)) > 3 or re.search(r"[\u3400-\u9fff]{8}", s)]


class Tongues:
    def __init__(self, folders, held):
        """folders: language to folder of articles; held: names of those not to learn from."""
        self.counts, self.total, self.held = {}, {}, {}
        for lang, folder in folders.items():
            c, kept = collections.Counter(), []
            for name in sorted(os.listdir(folder)):
                with open(os.path.join(folder, name), encoding="utf-8") as f:
                    text = f.read()
                if os.path.splitext(name)[0] in held:
                    kept += sentences_of(text)
                else:
                    c.update(runs_of(text))
            self.counts[lang], self.total[lang], self.held[lang] = c, sum(c.values()), kept
        self.kinds = len(set().union(*self.counts.values()))

    def of(self, text):
        score = {lang: 0.0 for lang in self.counts}
        for run in runs_of(text):
            for lang, c in self.counts.items():
                score[lang] += math.log((c[run] + .5) / (self.total[lang] + .5 * self.kinds))
        return max(score, key=score.get)

    def errors(self, each=200):
        """How often a held-out sentence is taken for one of another language: (share, how many)."""
        told = [self.of(s) != lang for lang, kept in self.held.items() for s in kit.mixed([{"id": s} for s in kept], each) for s in [s["id"]]]
        return kit.share(sum(told), len(told)), len(told)

    def of_reply(self, answer):
        """A reply that is a piece of what it cites, whole, is in the language of the sentence it was taken from: a name alone
        has none of its own. Any other is judged by its words."""
        said = words_of(kit.unmarked(answer))
        for c in answer["citations"]:
            quote = words_of(c["quote"])
            if said and any(quote[i:i + len(said)] == said for i in range(len(quote) - len(said) + 1)):
                return self.of(c["quote"])
        return self.of(kit.unmarked(answer))
