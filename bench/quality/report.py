"""What bench/search_quality says of the files in OUT: tables, CSV files and pictures."""

import csv
import math
import os

from quality import pictures, stats
from quality.jobs import Failed, Runner
from quality.protocol import Protocol, folder_of

COLUMNS = ("data", "budget", "by", "kind", "seed", "status", "truth", "truth_error", "better_than",
           "why", "trained", "trained_each", "validation", "parameters", "passes",
           "scoring_passes", "cpu_seconds", "wall_seconds", "seconds_whole", "jobs", "cell")
MEASURES = {"truth": "by truth", "trained": "by training"}


def report(out, plan, rules):
    protocol = Protocol(Runner(out, None, 1, 1), plan, missing_ok=True)
    rows = list(collect(protocol, plan, rules))
    totals = list(summaries(protocol, plan, rows))
    wins = list(all_pairs(rows, totals))
    ranks = list(all_ranks(protocol, plan, rules))
    noises = list(all_noise(plan, rows))
    for name, table in (("results.csv", rows), ("summary.csv", totals), ("wins.csv", wins),
                        ("rank.csv", ranks), ("noise.csv", noises)):
        write_csv(os.path.join(out, name), table, COLUMNS if name == "results.csv" else None)
    say(plan, rows, totals, wins, ranks, noises)
    pictures.quality(out, totals, rows)
    pictures.curve(out, plan, rules)


def write_csv(path, table, columns=None):
    if not table:
        if os.path.exists(path):
            os.unlink(path)  # of an earlier report
        return
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns or list(table[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows({key: tidy(value) for key, value in row.items()} for row in table)


def tidy(value):
    """As it stands in a CSV file: empty if it is not known."""
    if value is None or isinstance(value, float) and math.isnan(value):
        return ""
    return f"{value:.6g}" if isinstance(value, float) else value


# ---- what there is -------------------------------------------------------------------------------


def collect(protocol, plan, rules):
    """A row for every cell that was found."""
    finders = [(rule.name, "rule", lambda rule=rule, **where: protocol.search(rule, **where))
               for rule in rules]
    finders += [(name, "opponent", protocol.opponents[name]) for name in plan["opponents"]]
    for data in plan["data"]:
        for budget in plan["budgets"]:
            for name, kind, find in finders:
                for seed in plan["seeds"]:
                    row = dict.fromkeys(COLUMNS)
                    row.update(data=folder_of(data), budget=budget, by=name, kind=kind, seed=seed)
                    try:
                        fill(protocol, data, row, find(data=data, budget=budget, seed=seed))
                    except LookupError:
                        continue  # not yet
                    except Failed as error:
                        row.update(status="failed", why=str(error))
                    yield row


def fill(protocol, data, row, found):
    row.update(validation=found.validation, passes=found.passes, scoring_passes=found.scoring,
               cpu_seconds=found.cpu, wall_seconds=found.wall,
               seconds_whole=int(found.whole), jobs=found.jobs, cell=found.cell, status="found")
    if not found.cell:
        row.update(status="failed", why="the search diverged")
        return
    row["parameters"] = protocol.parameters(found.cell)
    truth = protocol.truth(found.cell)
    if truth and truth["judged"]:
        row.update(truth=truth["accuracy"], truth_error=truth["error"],
                   better_than=100 * truth["better_than"])
    elif truth:
        row.update(status="not judged", why=truth["why"])
    try:
        runs = protocol.judge(data, found.cell)
    except (LookupError, Failed):
        return
    row.update(trained=sum(runs) / len(runs), trained_each=" ".join(f"{x:.4f}" for x in runs))


def groups(rows):
    """{(data, budget): {by: rows}}, in the order of the rows."""
    out = {}
    for row in rows:
        out.setdefault((row["data"], row["budget"]), {}).setdefault(row["by"], []).append(row)
    return out


def known(rows, key):
    return [row[key] for row in rows if row[key] is not None]


def summaries(protocol, plan, rows):
    by_folder = {folder_of(data): data for data in plan["data"]}
    for (data, budget), people in groups(rows).items():
        for by, mine in people.items():
            total = {"data": data, "budget": budget, "by": by, "kind": mine[0]["kind"],
                     "found": sum(row["status"] == "found" for row in mine),
                     "not_judged": sum(row["status"] == "not judged" for row in mine),
                     "failed": sum(row["status"] == "failed" for row in mine)}
            for measure in MEASURES:
                values = known(mine, measure)
                mean, error = stats.mean_and_error(values)
                total.update({f"{measure}_cells": len(values), measure: mean,
                              f"{measure}_error": error,
                              f"{measure}_worst": min(values, default=None),
                              f"{measure}_best": max(values, default=None)})
            total["better_than"] = stats.mean_and_error(known(mine, "better_than"))[0]
            total["truth_expected"] = expected(protocol, by_folder[data], budget, by, mine)
            whole = [row for row in mine if row["seconds_whole"]]
            for key in ("passes", "scoring_passes"):
                total[key] = stats.mean_and_error(known(mine, key))[0]
            for key in ("cpu_seconds", "wall_seconds"):
                total[key] = stats.mean_and_error(known(whole, key))[0]
            total["seconds_of"] = len(whole)
            yield total


def expected(protocol, data, budget, by, rows):
    """The truth to be expected of best-of-m and best-of-many: of all cells that all seeds trained,
    over all choices of as many as the budget pays for. Less noise than one choice a seed. From each
    validation accuracy the mean of its seed is taken, which is luck of the seed. Of `random`: the
    mean of all cells drawn."""
    steps = {"best-of-m": protocol.o["short_steps"],
             "best-of-many": max(1, protocol.o["short_steps"] // 4)}.get(by)
    if protocol.o["truth"] == "none" or not steps and by != "random":
        return None
    scores, values = [], []
    for seed in (row["seed"] for row in rows if row["status"] != "failed"):
        if by == "random":
            values += [truth for _, truth in protocol.draw(seed, 1000) if truth is not None]
            continue
        records = protocol.trained(data, budget, seed, steps)
        mine = [record["output"][0]["validation_accuracy"] for record in records]
        drawn = protocol.draw(seed, len(mine))
        for score, (_, truth) in zip(mine, drawn):
            if truth is not None:
                scores.append(score - sum(mine) / len(mine))
                values.append(truth)
    if by == "random" or not values:
        return stats.mean_and_error(values)[0]
    return stats.best_of(scores, values, protocol.affordable(data, budget, steps))


# ---- one against the other -----------------------------------------------------------------------


def all_pairs(rows, totals):
    """Every rule against every opponent, and against the rules before it, of the same seeds.
    `strongest`: the opponent with the best mean. p_worst: not judged and failed cells of the rule
    count as losses."""
    means = {(t["data"], t["budget"], t["by"]): t for t in totals}
    for (data, budget), people in groups(rows).items():
        rules = [by for by, mine in people.items() if mine[0]["kind"] == "rule"]
        opponents = [by for by in people if by not in rules]
        for measure in MEASURES:
            mean = {by: means[data, budget, by][measure] for by in opponents
                    if means[data, budget, by][f"{measure}_cells"]}
            strongest = max(mean, key=mean.get, default=None)
            for i, rule in enumerate(rules):
                for other in opponents + rules[:i]:
                    pair = one_pair(people[rule], people[other], measure)
                    if pair:
                        yield {"data": data, "budget": budget, "measure": measure, "rule": rule,
                               "other": other, "strongest": int(other == strongest), **pair}


def one_pair(mine, others, measure):
    one, other = ({row["seed"]: row for row in rows} for rows in (mine, others))
    both = sorted(set(one) & set(other))
    pairs = [(one[s][measure], other[s][measure]) for s in both
             if one[s][measure] is not None and other[s][measure] is not None]
    if not pairs:
        return None
    lost = sum(one[s]["status"] != "found" for s in both) if measure == "truth" else 0
    difference, error, wins, ties, losses, p = stats.compare_pairs(pairs)
    return {"pairs": len(pairs), "difference": difference, "error": error, "wins": wins,
            "ties": ties, "losses": losses, "p": p, "left_out": len(both) - len(pairs),
            "p_worst": stats.sign_test(wins, losses + lost)}


# ---- scores and noise ----------------------------------------------------------------------------


def all_ranks(protocol, plan, rules):
    """Kendall's tau of either score with truth, for every search whose scores are there."""
    if not plan["rank"]:
        return
    try:
        cells = protocol.ranked()
    except LookupError:
        return
    truth = [accuracy for _, accuracy in cells]
    sizes = [protocol.parameters(cell) for cell, _ in cells]
    size = stats.kendall_tau(sizes, truth)
    for data in plan["data"]:
        for budget in plan["budgets"]:
            for rule in rules:
                for seed in plan["seeds"]:
                    try:
                        scores = protocol.scores(rule, data, budget, seed)
                    except LookupError:
                        continue
                    for name, score in scores.items():
                        # None: log 0, of a cell that the method cannot hand over
                        score = [-math.inf if value is None else value for value in score]
                        if len(set(score)) == 1:  # uniform, or it hands over none of these
                            continue
                        tau = stats.kendall_tau(score, truth)
                        partial = stats.partial_tau(tau, stats.kendall_tau(score, sizes), size)
                        yield {"data": folder_of(data), "budget": budget, "rule": rule.name,
                               "seed": seed, "score": name, "cells": len(cells), "tau": tau,
                               "tau_parameters": size, "partial": partial}


def all_noise(plan, rows):
    for data in plan["data"]:
        judged = {row["cell"]: row for row in rows
                  if row["data"] == folder_of(data) and row["trained_each"]}
        found = stats.noise([[float(x) for x in row["trained_each"].split()]
                             for row in judged.values()])
        if found:
            both = [row for row in judged.values() if row["truth"] is not None]
            yield {"data": folder_of(data), "steps": plan["judge_steps"], **found,
                   "tau_with_truth": stats.kendall_tau(known(both, "trained"),
                                                       known(both, "truth"))}


# ---- for the terminal ----------------------------------------------------------------------------


def plus_minus(mean, error, sign=""):
    if mean is None or math.isnan(mean):
        return ""
    return f"{mean:{sign}.2f}" + ("" if math.isnan(error) else f" +- {error:.2f}")


def number(value, form):
    return "" if value is None or math.isnan(value) else f"{value:{form}}"


def say(plan, rows, totals, wins, ranks, noises):
    if not rows:
        print("no results yet")
    for data, budget in groups(rows):
        print(f"\n{data}, budget {budget:g}: {budget * plan['unit']:,.0f} passes; "
              f"truth {plan['truth']}, trained {plan['judge_steps']:,} steps with "
              f"{plan['judge_seeds']} seeds\n")
        say_totals([t for t in totals if (t["data"], t["budget"]) == (data, budget)])
        say_wins([w for w in wins if (w["data"], w["budget"]) == (data, budget)])
        say_ranks([r for r in ranks if (r["data"], r["budget"]) == (data, budget)])
    for noise in noises:
        say_noise(noise)
    say_left_out(rows)


def say_totals(totals):
    print(f"  {'':14}{'cells':>6}  {'truth, %':14}{'worst':>6}{'better':>8}{'expected':>9}  "
          f"{'trained, %':14}{'passes':>8}{'scoring':>8}{'CPU s':>7}")
    for t in totals:
        left = t["not_judged"] + t["failed"]
        print(f"  {t['by'][:14]:14}{t['found'] + left:4}{f'-{left}' if left else '':2}  "
              f"{plus_minus(t['truth'], t['truth_error']):14}{number(t['truth_worst'], '.2f'):>6}"
              f"{number(t['better_than'], '.0f') and number(t['better_than'], '.0f') + ' %':>8}"
              f"{number(t['truth_expected'], '.2f'):>9}  "
              f"{plus_minus(t['trained'], t['trained_error']):14}{number(t['passes'], ',.0f'):>8}"
              f"{number(t['scoring_passes'], ',.0f'):>8}{number(t['cpu_seconds'], ',.0f'):>7}")


def say_wins(wins):
    if wins:
        print(f"\n  {'same seeds':31}{'difference':18}{'won':>4}{'tied':>5}{'lost':>5}{'p':>8}"
              f"{'p worst':>8}")
    for w in wins:
        p, worst = number(w["p"], ".3f"), number(w["p_worst"], ".3f")
        print(f"  {w['rule'][:14]:14} {w['other'][:14] + (' *' if w['strongest'] else ''):16}"
              f"{plus_minus(w['difference'], w['error'], '+'):18}{w['wins']:4}{w['ties']:5}"
              f"{w['losses']:5}{p:>8}{worst if w['p_worst'] != w['p'] else '':>8}  "
              f"{MEASURES[w['measure']]}")
    if any(w["strongest"] for w in wins):
        print("  * the strongest opponent")


def say_ranks(ranks):
    for rule, score in dict.fromkeys((r["rule"], r["score"]) for r in ranks):
        mine = [r for r in ranks if (r["rule"], r["score"]) == (rule, score)]
        taus = plus_minus(*stats.mean_and_error([r["tau"] for r in mine]))
        partial = plus_minus(*stats.mean_and_error([r["partial"] for r in mine]))
        print(f"\n  {rule}, by its {score}: Kendall's tau with truth {taus} ({len(mine)} searches, "
              f"{mine[0]['cells']} cells),\n    given the number of parameters {partial}; of that "
              f"number itself {mine[0]['tau_parameters']:.2f}")


def say_noise(n):
    print(f"\n{n['data']}, {n['cells']} cells trained {n['steps']:,} steps with {n['seeds']} "
          f"seeds: deviation between cells\n  {n['between']:.2f}, of one training "
          f"{n['within']:.2f}; reliability of the mean {n['reliability']:.2f}. Largest tau of a "
          f"perfect\n  score {n['ceiling']:.2f}; of one training with another {n['repeat']:.2f}; "
          f"of the means with truth {number(n['tau_with_truth'], '.2f') or 'not known'}.")


def say_left_out(rows, most=10):
    """Cells that no table judges and searches that failed: never without a word."""
    left = [row for row in rows if row["status"] != "found"]
    if left:
        print(f"\n{len(left)} of {len(rows)} cells are in no mean of truth:")
    for row in left[:most]:
        print(f"  {row['data']}, budget {row['budget']:g}, {row['by']}, seed {row['seed']}: "
              f"{row['status']}"[:100])
        print(f"    {row['why']}"[:100])
    if len(left) > most:
        print(f"  and {len(left) - most} more: results.csv")
