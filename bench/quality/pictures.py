"""Pictures of bench/search_quality, by gnuplot if it is there."""

import csv
import os
import shutil
import subprocess

from quality.protocol import folder_of

COLOURS = ("#4477aa", "#cc3311", "#228833", "#aa3377", "#ee7733", "#009988", "#777777", "#ccbb44",
           "#332288")
LABELS = {"truth": "accuracy by truth, %", "trained": "test accuracy trained alone, %"}


def draw(path, script):
    """Whole or not at all."""
    script = f"set output '{path}.tmp'\n{script}\nunset output\n"
    done = subprocess.run(["gnuplot"], input=script, text=True, check=False, capture_output=True)
    if done.returncode:
        print(f"{path}: gnuplot: {done.stderr.strip()[:200]}")
        return
    os.replace(path + ".tmp", path)


def quoted(text):
    return "'" + str(text).replace("'", "''") + "'"


def block(name, lines):
    return f"${name} << EOD\n" + "\n".join(lines) + "\nEOD\n"


def quality(out, totals, rows):
    """A panel for each data set and measure: every cell found, with mean and standard error, by
    budget."""
    panels = [(data, measure) for data in dict.fromkeys(t["data"] for t in totals)
              for measure in LABELS
              if any(t["data"] == data and t[f"{measure}_cells"] for t in totals)]
    if not panels or not shutil.which("gnuplot"):
        return
    script = [f"set terminal svg size 960,{60 + 400 * len(panels)} font 'sans,13' "
              f"background 'white' noenhanced",
              f"set multiplot layout {len(panels)},1", "set grid y", "set key outside right top",
              "set bars 0.5", "set offsets 0, 0, graph 0.05, graph 0.05"]
    for data, measure in panels:
        script += panel([t for t in totals if t["data"] == data],
                        [r for r in rows if r["data"] == data], data, measure)
    draw(os.path.join(out, "quality.svg"), "\n".join(script + ["unset multiplot"]))


def panel(totals, rows, data, measure):
    budgets = list(dict.fromkeys(t["budget"] for t in totals))
    people = list(dict.fromkeys(t["by"] for t in totals))
    rules = {t["by"] for t in totals if t["kind"] == "rule"}
    script, plots = [], []
    for i, by in enumerate(people):
        shift = 0.8 * ((i + 0.5) / len(people) - 0.5)
        cells = [f"{budgets.index(r['budget']) + shift} {r[measure]}" for r in rows
                 if r["by"] == by and r[measure] is not None]
        means = [f"{budgets.index(t['budget']) + shift} {t[measure]} "
                 f"{t[f'{measure}_error'] if t[f'{measure}_cells'] > 1 else 0}"
                 for t in totals if t["by"] == by and t[f"{measure}_cells"]]
        if not means:
            continue
        name, colour = f"{measure}{i}", COLOURS[i % len(COLOURS)]
        point = 5 if by in rules else 6
        script += [block(name + "cells", cells), block(name + "means", means)]
        plots += [f"${name}cells using 1:2 with points pt 7 ps 0.35 lc rgb '{colour}' notitle",
                  f"${name}means using 1:2:3 with yerrorbars pt {point} ps 0.9 lw 2 "
                  f"lc rgb '{colour}' title {quoted(by)}"]
    marks = ", ".join(f"{quoted(f'{budget:g}')} {x}" for x, budget in enumerate(budgets))
    return script + [f"set title {quoted(data)}", f"set ylabel {quoted(LABELS[measure])}",
                     "set xlabel 'budget'", f"set xtics ({marks})",
                     f"set xrange [-0.5:{len(budgets) - 0.5}]", "plot " + ", ".join(plots)]


def curve(out, plan, rules):
    """truth.csv of the searches: the accuracy to be expected of pi, mean of the seeds, by the share
    of the steps that are done."""
    script, panels = [], []
    for data in plan["data"]:
        plots = []
        for budget in plan["budgets"]:
            for rule in rules:
                lines = mean_curve([os.path.join(out, folder_of(data), f"budget-{budget:g}",
                                                 rule.name, f"seed-{seed}", "truth.csv")
                                    for seed in plan["seeds"]])
                if lines:
                    number = len(script)
                    script.append(block(f"curve{number}", lines))
                    colour = COLOURS[len(plots) % len(COLOURS)]
                    plots.append(f"$curve{number} using 1:2 with lines lw 2 lc rgb '{colour}' "
                                 f"title {quoted(f'{rule.name}, budget {budget:g}')}")
        if plots:
            panels += [f"set title {quoted(folder_of(data))}", "plot " + ", ".join(plots)]
    if not panels or not shutil.which("gnuplot"):
        return
    count = len(panels) // 2
    head = [f"set terminal svg size 960,{60 + 400 * count} font 'sans,13' background 'white' "
            f"noenhanced", *script, f"set multiplot layout {count},1", "set grid",
            "set key outside right top", "set xlabel 'share of the steps'",
            "set ylabel 'expected accuracy by truth, %'", "set xrange [0:1]"]
    draw(os.path.join(out, "curve.svg"), "\n".join(head + panels + ["unset multiplot"]))


def mean_curve(paths):
    """Lines `share mean` of those files that are there, over the steps that all of them have."""
    sums, count = {}, 0
    for path in paths:
        try:
            with open(path, newline="", encoding="utf-8") as file:
                table = [(int(row["step"]), float(row["mean"])) for row in csv.DictReader(file)
                         if row["mean"]]
        except FileNotFoundError:
            continue
        count += 1
        for step, value in table:
            sums.setdefault(step, []).append(value)
    last = max(sums, default=0)
    return [f"{step / last} {sum(values) / count}" for step, values in sorted(sums.items())
            if last and len(values) == count]
