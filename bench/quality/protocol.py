"""The protocol of bench/search_quality: budgets, rules, opponents and judges.

Costs are counted in passes: forward and backward of one architecture on one batch. A forward pass
alone is a third. So a step of a search costs K * 4/3; a step of its warm-up, of a search by
evidence or of a training costs 1. Steps of other methods cost what `cost` of
search/methods/method_*.c says: passes of a supernet count their multiply-adds.
"""

import functools
import hashlib
import os
import re
import shlex

from quality import cells
from quality.jobs import Failed, Refused, load

QUICKSTART = 3767  # passes: 1,100 steps of warm-up and 500 with K = 4
WARMUP = 1100 / QUICKSTART
# K, and the warm-up's share of the budget
PRESETS = {"practical": (4, WARMUP), "paper": (16, 0.0), "evidence": (1, 1.0)}
SUPERNET, ONE_OP_AN_EDGE = 6.7, 1.2  # passes that a pass of it costs
METHODS = {"darts": 2 * SUPERNET, "gdas": 2 * ONE_OP_AN_EDGE, "snas": SUPERNET}  # a step
SECOND_ORDER = 5 * SUPERNET
# What the last rounds of random search cost, all of which its rule has to say
ROUNDS = ("--select", "--select-batches", "--finalists", "--final-batches")
DRAWS, LARGEST_OF = 1_000_000, 1000  # seed of the cells of seed 0; how many `largest` looks at
RANK_SEED, JUDGE_SEED = 3_000_000, 2_000_000
WORDS = 60  # genotypes of one command
HALVING = ((40, 45), (8, 90), (3, 300))  # cells and steps of each rung, 3,420 passes
SCORED = 10000  # images that `compare` scores at most


def option(words, name):
    """The value of an option in a list of words, or None."""
    for i, word in enumerate(words):
        if word == name:
            return words[i + 1] if i + 1 < len(words) else ""
        if word.startswith(name + "="):
            return word[len(name) + 1:]
    return None


class Rule:
    """A name, and the options that `parsec-nas search` gets for it."""

    def __init__(self, text):
        self.name, given, options = text.partition("=")
        self.words = shlex.split(options) if given else ["--rule", self.name]
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_+.-]*", self.name):
            raise Refused(f"rule {text}: want NAME or NAME=OPTIONS, NAME of letters, digits and "
                          f"_+.-")
        for mine in ("--seed", "--data", "--layers", "--channels", "--batch", "--threads",
                     "--epochs", "--truth"):
            if option(self.words, mine) is not None:
                raise Refused(f"rule {self.name}: {mine} is not the rule's to say")

    def text(self):
        return shlex.join(self.words)

    def number(self, name):
        value = option(self.words, name)
        try:
            return None if value is None else int(value)
        except ValueError:
            raise Refused(f"rule {self.name}: {name} {value}, want a number") from None

    def steps(self, passes):
        """Steps, warm-up (None: it has none) and passes of a search that costs `passes`, or what
        its options say."""
        method = option(self.words, "--method") or "parsec"
        if method == "parsec":
            return self.parsec_steps(passes)
        each, rounds, judged = 1.0, 0.0, 0
        if method == "random":
            select, batches, finalists, again = (self.number(name) for name in ROUNDS)
            if None in (select, batches, finalists, again):
                raise Refused(f"rule {self.name}: random search wants {', '.join(ROUNDS)}")
            rounds, judged = (select * batches + finalists * again) / 3, select + finalists
        elif method not in METHODS:
            raise Refused(f"rule {self.name}: --method {method}, want parsec, random, "
                          f"{' or '.join(METHODS)}")
        else:
            each = SECOND_ORDER if self.number("--order") == 2 else METHODS[method]
        steps = self.number("--steps")
        if steps is None:
            steps = judged + max(1, round((passes - rounds) / each))
        cost = rounds + (steps - judged) * each
        self.check_cost(cost, passes, each, f"{steps} steps")
        return steps, None, cost

    def check_cost(self, cost, passes, step, what):
        if abs(cost - passes) > max(step, 0.02 * passes):
            raise Refused(f"rule {self.name}: {what}, cost {cost:,.0f} passes, and the budget is "
                          f"{passes:,.0f}")

    def parsec_steps(self, passes):
        frozen = "--freeze-weights" in self.words
        given = self.number("--samples")
        drawn = frozen or "--prior" in self.words or (given or 1) > 1  # as the program chooses
        rule = option(self.words, "--rule") or ("practical" if drawn else "evidence")
        samples, share = PRESETS.get(rule, (None, 0.0))
        samples = given or samples
        if not samples:
            raise Refused(f"rule {self.name}: K is not known, want --samples in its options")
        evidence = rule == "evidence" or "--evidence" in self.words
        step = step_cost(samples, frozen, evidence)
        if frozen or "--keep-weights" in self.words:
            share = 0.0
        steps, warmup = self.number("--steps"), self.number("--warmup")
        if warmup is None:
            warmup = round(share * (passes if steps is None else steps * step))
        if steps is None:
            steps = max(1, warmup + round((passes - warmup) / step))
        cost = search_cost(steps, warmup, step)
        self.check_cost(cost, passes, step, f"{steps} steps, {warmup} of warm-up")
        return steps, warmup, cost


def step_cost(samples, frozen, evidence):
    if evidence:
        return 1
    return samples / 3 if frozen else samples * 4 / 3


def search_cost(steps, warmup, step):
    """As pn_search_cost of search/methods/standalone.h."""
    warm = min(steps, warmup)
    return warm + (steps - warm) * step


def cost_of(ran, planned):
    """What a search cost, by its run.json; by the settings there, if a version wrote it that did
    not say. Those of other methods than parsec were all asked for, as planned."""
    settings = ran["settings"]
    if "cost" in ran:
        return ran["cost"]
    if settings.get("method", "parsec") != "parsec":
        return planned
    step = step_cost(settings["samples"], settings["freeze-weights"],
                     settings.get("evidence", False))
    return search_cost(settings["steps"], settings["warmup"], step)


def rungs(passes, scoring=0.0):
    """Cells and steps of each rung of successive halving. Cells and steps grow alike with the
    budget; every rung trains anew, and all trainings are paid for, and `scoring` for each cell."""
    def scaled(grow):
        return [[max(1, int(n * grow)), max(1, round(steps * grow))] for n, steps in HALVING]

    def cost(plan):
        return sum(n * (steps + scoring) for n, steps in plan)

    low, high = 0.0, 1000.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if cost(scaled(middle)) <= passes else (low, middle)
    out = scaled(low)
    out[0][0] += max(0, int((passes - cost(out)) / (out[0][1] + scoring)))
    return [tuple(rung) for rung in out]


def validation_images(data):
    """Of a data set of the program, the half of the training images that chooses."""
    counts = {"fashion-mnist": 60000, "cifar10": 50000, "cifar10/2": 50000,
              "fashion-mnist/2": 60000}
    made = re.match(r"synthetic:(\d+)x", data)
    return (int(made.group(1)) if made else counts.get(data, 2 * SCORED)) // 2


class Found:
    """What a rule or an opponent found: a cell (None: its search diverged), and what that cost."""

    def __init__(self, records, cell, validation=None):
        self.cell, self.validation = cell, validation
        self.passes = sum(r["passes"] for r in records)
        self.scoring = sum(r["scoring"] for r in records)
        self.cpu = sum(r["cpu_seconds"] for r in records)
        self.wall = sum(r["wall_seconds"] for r in records)
        self.whole = all(r["whole"] for r in records)
        self.jobs = max((r["jobs"] for r in records), default=0)


def folder_of(data):
    path, half = os.path.normpath(data), ""
    if path.endswith("/2"):  # a set at half the size
        path, half = path[:-2], "-2"
    return re.sub(r"[^A-Za-z0-9_.-]", "-", os.path.basename(path)) + half


class Protocol:
    """All that can be run for one OUT. `o` are the settings (search_quality: SETTINGS)."""

    def __init__(self, runner, o, missing_ok=False):
        self.runner, self.o, self.missing_ok = runner, o, missing_ok
        self.opponents = {
            "random": self.random,
            "best-of-m": functools.partial(self.best_of, steps=o["short_steps"]),
            "best-of-many": functools.partial(self.best_of, steps=max(1, o["short_steps"] // 4)),
            "halving": self.halving,
            "largest": self.largest,
        }

    # ---- commands --------------------------------------------------------------------------------

    def result(self, path, *arguments, **more):
        """As Runner.result; with missing_ok a file that is not there is LookupError."""
        if self.missing_ok and not os.path.exists(os.path.join(self.runner.out, path)):
            raise LookupError(path)
        return self.runner.result(path, *arguments, **more)

    def passes(self, budget):
        return self.o["unit"] * budget

    def network(self, data):
        return ["--data", data, "--layers", str(self.o["layers"]), "--channels",
                str(self.o["channels"]), "--batch", str(self.o["batch"])]

    def parameters(self, cell):
        return cells.parameters(cell, self.o["layers"], self.o["channels"])

    def draw(self, seed, count):
        """The first `count` uniform cells of a seed, of which more may be drawn, and their
        accuracies by truth (None: not judged)."""
        enough = LARGEST_OF
        while enough < count:
            enough *= 2
        return self.sample(f"draws/seed-{seed}-{enough}.json", DRAWS + seed, enough)[:count]

    def sample(self, path, seed, count):
        """[[cell, accuracy by truth or None]] of uniform cells."""
        def finish(record):
            record["output"] = [[row["short"], row.get("truth", {}).get("accuracy")]
                                for row in record["output"]]

        known = [] if self.o["truth"] == "none" else ["--truth", self.o["truth"]]
        return self.result(path, ["sample", "--count", str(count), "--distinct-inputs", "--seed",
                                  str(seed), *known, "--json"], finish, shares=False)["output"]

    def train(self, path, data, listed, steps, seed):
        """Records of cells trained alone, `WORDS` a command."""
        def finish(record):
            record["output"] = [{key: row[key] for key in
                                 ("short", "validation_accuracy", "test_accuracy")}
                                for row in record["output"]["cells"]]

        records = []
        for at in range(0, len(listed), WORDS):
            part = listed[at:at + WORDS]
            name = f"{path}-{at // WORDS + 1}" if len(listed) > WORDS else path
            records.append(self.result(
                f"{folder_of(data)}/{name}.json",
                ["compare", *part, "--steps", str(steps), "--seed", str(seed), "--json",
                 *self.network(data)], finish, passes=float(len(part) * steps),
                scoring=len(part) * self.scoring(data)))
            if records[-1]["exit"]:
                raise Failed(f"{folder_of(data)}/{name}: {records[-1]['message']}")
        return records

    def scoring(self, data):
        """Passes of scoring a cell on the validation half; of a directory, at most."""
        return max(1, min(SCORED, validation_images(data)) // self.o["batch"]) / 3

    def counted(self, data):
        return self.scoring(data) if self.o["scoring"] == "counted" else 0.0

    def affordable(self, data, budget, steps):
        """Cells that can be trained for `steps`."""
        return max(1, int(self.passes(budget) / (steps + self.counted(data))))

    # ---- those who find a cell -------------------------------------------------------------------

    def search(self, rule, data, budget, seed):
        steps, warmup, cost = rule.steps(self.passes(budget))
        place = f"{folder_of(data)}/budget-{budget:g}/{rule.name}/seed-{seed}"
        run = os.path.join(self.runner.out, place)
        words = list(rule.words)
        for name, value in (("--steps", steps), ("--warmup", warmup)):
            if value is not None and option(words, name) is None:
                words += [name, str(value)]
        if self.o["curve"]:
            words += ["--truth", self.o["truth"]]

        def finish(record):
            counted = cost_of(load(os.path.join(run, "run.json")), cost)
            if abs(counted - cost) > 1e-6 * cost:
                raise Failed(f"{run} cost {counted:,.0f} passes by its run.json, planned were "
                             f"{cost:,.0f}: rule {rule.name} wants --samples, --steps or --warmup")
            record["output"] = cells.short(record["output"])

        record = self.result(place + ".json", ["search", run, "--seed", str(seed), *words,
                                               *self.network(data)],
                             finish, passes=cost, folder=run)
        return Found([record], record.get("output"))

    def random(self, data, budget, seed):
        del data, budget
        return Found([], self.draw(seed, 1)[0][0])

    def largest(self, data, budget, seed):
        """The program counts the one that is chosen, too."""
        del data, budget
        drawn = [cell for cell, _ in self.draw(seed, LARGEST_OF)]
        listed = [drawn[0], max(drawn, key=self.parameters)]
        counts = []
        for i, cell in enumerate(listed):
            def finish(record):
                record["output"] = record["output"]["params"]

            record = self.result(f"draws/seed-{seed}-plan-{i + 1}.json",
                                 ["plan", "--genotype", cell, "--layers", str(self.o["layers"]),
                                  "--channels", str(self.o["channels"]), "--json"], finish,
                                 shares=False)
            counts.append(record["output"] - self.parameters(cell))
        if counts[0] != counts[1]:
            raise Failed(f"seed {seed}: parsec-nas plan and cells.parameters differ by {counts[0]} "
                         f"and {counts[1]} parameters, which has to be the same number")
        return Found([], listed[1])

    def trained(self, data, budget, seed, steps):
        """Records of the cells that the budget pays for. A larger budget goes on with the cells of
        a smaller one."""
        listed = self.draw(seed, self.affordable(data, budget, steps))
        return [self.train(f"alone-{steps}/seed-{seed}-cell-{i + 1}", data, [cell], steps,
                           1000 * seed)[0] for i, (cell, _) in enumerate(listed)]

    def best_of(self, data, budget, seed, steps):
        records = self.trained(data, budget, seed, steps)
        best = max((r["output"][0] for r in records), key=lambda row: row["validation_accuracy"])
        return Found(records, best["short"], best["validation_accuracy"])

    def halving(self, data, budget, seed):
        plan = rungs(self.passes(budget), self.counted(data))
        alive, records = [cell for cell, _ in self.draw(seed, plan[0][0])], []
        for i, (count, steps) in enumerate(plan):
            done = self.train(f"budget-{budget:g}/halving/seed-{seed}-rung-{i + 1}", data,
                              alive[:count], steps, 1000 * seed + 1 + i)
            rows = sorted((row for r in done for row in r["output"]),
                          key=lambda row: -row["validation_accuracy"])
            alive = [row["short"] for row in rows]
            records += done
        return Found(records, alive[0], rows[0]["validation_accuracy"])

    # ---- judges ----------------------------------------------------------------------------------

    def truth(self, cell):
        """What a known table says: {"judged": true, "accuracy", "error", "better_than"} or
        {"judged": false, "why"}. None: no table is wanted."""
        if self.o["truth"] == "none":
            return None

        def finish(record):
            record["output"] = record["output"]["cells"][0]["truth"]

        name = hashlib.sha256(cell.encode()).hexdigest()[:16]
        return self.result(f"truth/{name}.json",
                           ["compare", cell, "--steps", "0", "--truth", self.o["truth"], "--json"],
                           finish)["output"]

    def judge(self, data, cell):
        """Test accuracies in percent of new trainings, one for each of the judge's seeds."""
        name = hashlib.sha256(cell.encode()).hexdigest()[:16]
        return [100 * self.train(f"judge-{self.o['judge_steps']}/{name}-{i + 1}", data, [cell],
                                 self.o["judge_steps"], JUDGE_SEED + i)[0]
                ["output"][0]["test_accuracy"] for i in range(self.o["judge_seeds"])]

    def ranked(self):
        """The cells by which scores are compared with truth: [cell, accuracy], if judged."""
        return [row for row in self.sample(f"rank/cells-{self.o['rank']}.json", RANK_SEED,
                                           self.o["rank"]) if row[1] is not None]

    def scores(self, rule, data, budget, seed):
        """What a search says of the ranked cells: {"pi": log-probabilities, "weights": accuracies
        with its shared weights}."""
        place = f"{folder_of(data)}/budget-{budget:g}/{rule.name}/seed-{seed}"
        listed, out = [cell for cell, _ in self.ranked()], {"pi": [], "weights": []}

        def finish(record):
            rows = record["output"]["cells"][1:]
            record["output"] = {"pi": [row["log_p"] for row in rows],
                                "weights": [row["shared_accuracy"] for row in rows]}

        for at in range(0, len(listed), WORDS):
            said = self.result(f"{place}-rank-{at // WORDS + 1}.json",
                               ["compare", os.path.join(self.runner.out, place),
                                *listed[at:at + WORDS], "--steps", "0", "--json"],
                               finish)["output"]
            for score, values in out.items():
                values += said[score]
        return out
