#!/usr/bin/env python3
"""Draws dashboards from what a Prometheus has, to see what they show without a Grafana.

Usage: render.py PROMETHEUS SECONDS FOLDER DASHBOARD…
       render.py http://127.0.0.1:9090 60 pictures dashboards/overview.json

Needs matplotlib. Variables choose everything; of tables the first rows are shown.
"""

import json
import math
import pathlib
import re
import sys
import time
import urllib.parse
import urllib.request

import matplotlib

matplotlib.use("Agg")
import matplotlib.dates as dates  # noqa: E402
import matplotlib.pyplot as plot  # noqa: E402

ROWS_OF_TABLE = 9
ROWS_OF_LEGEND = 6
INCHES = 0.62  # of a unit of Grafana's grid
UNITS = {"pps": "packets/s", "cps": "connections/s", "reqps": "a second", "Bps": "bytes/s", "s": "seconds", "bytes": "bytes", "percentunit": "cores"}


class Prometheus:
    def __init__(self, address, seconds):
        self.address = address
        self.end = time.time()
        self.start = self.end - seconds
        self.step = max(1, seconds // 120)

    def ask(self, path, **parameters):
        query = urllib.parse.urlencode(parameters).encode()
        with urllib.request.urlopen(f"{self.address}/api/v1/{path}", data=query, timeout=30) as answer:
            return json.load(answer)["data"]["result"]

    def expr(self, text):
        window = f"{max(10, 4 * self.step)}s"
        text = text.replace("$__rate_interval", window).replace("$__range", f"{int(self.end - self.start)}s")
        return re.sub(r"\$\w+", ".*", text)

    def lines(self, text):
        return self.ask("query_range", query=self.expr(text), start=self.start, end=self.end, step=self.step)

    def now(self, text):
        return self.ask("query", query=self.expr(text), time=self.end)


def legend(target, labels):
    form = target["legendFormat"]
    if form == "__auto":
        return ", ".join(labels.values()) or "value"
    return re.sub(r"{{(\w+)}}", lambda found: labels.get(found[1], "") or "–", form)


def number(value):
    if math.isnan(value):
        return "no data"
    for limit, unit in ((1e9, " G"), (1e6, " M"), (1e3, " k")):
        if abs(value) >= limit:
            return f"{value / limit:.1f}{unit}"
    return f"{value:.3g}"


def graph(axes, panel, prometheus):
    series = []
    for target in panel["targets"]:
        for found in prometheus.lines(target["expr"]):
            points = [(t / 86400, float(v)) for t, v in found["values"]]
            series.append((legend(target, found["metric"]), points))
    series.sort(key=lambda each: -max((v for _, v in each[1] if not math.isnan(v)), default=0))
    stacked = "stacking" in panel["fieldConfig"]["defaults"]["custom"]
    if stacked and series:
        times = sorted({t for _, points in series for t, _ in points})
        values = [[dict(points).get(t, 0.0) for t in times] for _, points in series]
        axes.stackplot(times, values, labels=[name for name, _ in series], alpha=0.8)
    else:
        for name, points in series:
            axes.plot([t for t, _ in points], [v for _, v in points], label=name, linewidth=1.4)
    axes.set_ylim(bottom=0)
    axes.xaxis.set_major_locator(dates.AutoDateLocator(maxticks=6))
    axes.xaxis.set_major_formatter(dates.DateFormatter("%H:%M:%S"))
    axes.set_ylabel(UNITS.get(panel["fieldConfig"]["defaults"]["unit"], ""), fontsize=7)
    axes.tick_params(labelsize=7)
    axes.grid(alpha=0.3)
    handles, names = axes.get_legend_handles_labels()
    if names:
        shown = [name if len(name) < 60 else name[:57] + "…" for name in names[:ROWS_OF_LEGEND]]
        axes.legend(handles[:ROWS_OF_LEGEND], shown, fontsize=6, loc="upper left", framealpha=0.7)
    else:
        axes.text(0.5, 0.5, "no data", transform=axes.transAxes, ha="center", color="grey")


def stat(axes, panel, prometheus):
    axes.axis("off")
    found = prometheus.now(panel["targets"][0]["expr"])
    value = float(found[0]["value"][1]) if found else math.nan
    steps = panel["fieldConfig"]["defaults"]["thresholds"]["steps"]
    color = [step["color"] for step in steps if step["value"] is None or value >= step["value"]][-1]
    unit = UNITS.get(panel["fieldConfig"]["defaults"]["unit"], "")
    axes.text(0.5, 0.55, number(value), transform=axes.transAxes, ha="center", va="center", fontsize=24, color=color)
    axes.text(0.5, 0.12, unit, transform=axes.transAxes, ha="center", fontsize=8, color="grey")


def table(axes, panel, prometheus):
    axes.axis("off")
    order = panel["transformations"][0]["options"]["indexByName"]
    columns = sorted(order, key=order.get)
    found = sorted(prometheus.now(panel["targets"][0]["expr"]), key=lambda each: -float(each["value"][1]))
    rows = [[each["metric"].get(name, "") for name in columns] + [number(float(each["value"][1]))] for each in found]
    if not rows:
        axes.text(0.5, 0.5, "nothing", transform=axes.transAxes, ha="center", color="grey")
        return
    heads = [name.replace("_", " ") for name in columns] + ["value"]
    drawn = axes.table(rows[:ROWS_OF_TABLE], colLabels=heads, loc="upper center", cellLoc="left")
    drawn.auto_set_font_size(False)
    drawn.set_fontsize(7)
    drawn.auto_set_column_width(range(len(heads)))
    drawn.scale(1, 1.25)


DRAWN = {"timeseries": graph, "stat": stat, "table": table}


def draw(path, prometheus, folder):
    board = json.loads(path.read_text())
    panels = [panel for panel in board["panels"] if panel["type"] in DRAWN and "expr" in panel["targets"][0]]
    # Text and SQL have no picture; what is below moves up.
    tops = sorted({panel["gridPos"]["y"] for panel in panels})
    heights = {top: max(panel["gridPos"]["h"] for panel in panels if panel["gridPos"]["y"] == top) for top in tops}
    figure = plot.figure(figsize=(24 * INCHES, (sum(heights.values()) + 1) * INCHES * 0.62))
    figure.suptitle(board["title"], fontsize=12, x=0.01, ha="left", y=0.995)
    grid = figure.add_gridspec(len(tops), 24, height_ratios=[heights[top] for top in tops], hspace=0.45, wspace=3.5)
    for panel in panels:
        at = panel["gridPos"]
        axes = figure.add_subplot(grid[tops.index(at["y"]), at["x"] : at["x"] + at["w"]])
        axes.set_title(panel["title"], fontsize=9, loc="left")
        DRAWN[panel["type"]](axes, panel, prometheus)
    figure.subplots_adjust(left=0.045, right=0.985, top=0.94, bottom=0.04)
    target = folder / f"{path.stem}.png"
    figure.savefig(target, dpi=80)
    plot.close(figure)
    print(target)


def main():
    if len(sys.argv) < 5:
        sys.exit(__doc__)
    address, seconds, folder = sys.argv[1], int(sys.argv[2]), pathlib.Path(sys.argv[3])
    folder.mkdir(parents=True, exist_ok=True)
    prometheus = Prometheus(address, seconds)
    for name in sys.argv[4:]:
        draw(pathlib.Path(name), prometheus, folder)


if __name__ == "__main__":
    main()
