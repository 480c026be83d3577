"""Collects what was checked, by which client, and says each failure at once with what one needs to find it."""

import json
import sys
import time
import traceback


class Report:
    """Rows in the order they were first named: client, messages, checks, failures."""

    def __init__(self):
        self.rows = {}
        self.failures = []
        self.left_out = []
        self.figures = []

    def _row(self, client):
        return self.rows.setdefault(client, {"messages": 0, "checks": 0, "failed": 0})

    def messages(self, client, count):
        """Counts messages that `client` carried."""
        self._row(client)["messages"] += count

    def check(self, client, what, good, why=""):
        """One check; a failed one is printed at once. Returns whether it was good."""
        row = self._row(client)
        row["checks"] += 1
        if not good:
            row["failed"] += 1
            text = f"FAILED {client}: {what}" + (f": {why}" if why else "")
            self.failures.append(text)
            print(text, flush=True)
        return good

    def leave_out(self, client, why):
        """Says that a client (or a part of what it does) was not run, and why."""
        self.left_out.append(f"{client}: {why}")
        print(f"left out {client}: {why}", flush=True)

    def figure(self, what, value, budget, unit, good):
        """One measured figure beside its budget; `budget` may be None for one that is only printed."""
        self.figures.append({"what": what, "value": value, "budget": budget, "unit": unit, "good": good})
        limit = "" if budget is None else f" (budget {budget:g} {unit})"
        print(f"  {what}: {value:.4g} {unit}{limit}{'' if good else '   OVER'}", flush=True)
        self.check("budgets", what, good, f"{value:.4g} {unit}, budget {budget} {unit}")

    def guarded(self, client, function, *arguments):
        """Runs a part; an exception in it is one failed check of that client and the run goes on."""
        started = time.monotonic()
        try:
            function(*arguments)
        except Exception as error:  # a driver's own trouble must not hide the other clients' results
            detail = "".join(traceback.format_exception(error)[-4:])
            self.check(client, "ran to its end", False, f"{type(error).__name__}: {error}\n{detail}")
        row = self.rows.get(client)
        counts = f"{row['checks']} checks, {row['failed']} failed, " if row else ""
        print(f"- {client}: {counts}{time.monotonic() - started:.1f} s", flush=True)

    def save(self, path):
        """Writes everything as JSON for tests/run's closing table."""
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(path, "w", encoding="utf-8") as file:
            json.dump(
                {"rows": self.rows, "failures": self.failures, "left_out": self.left_out, "figures": self.figures}, file
            )

    def end(self, path):
        """Prints the tables, saves, and returns the exit code."""
        print(table(self.rows))
        if self.figures:
            print(figures(self.figures))
        self.save(path)
        passed = sum(row["checks"] - row["failed"] for row in self.rows.values())
        failed = sum(row["failed"] for row in self.rows.values())
        print(f"{passed} passed, {failed} failed", flush=True)
        sys.stdout.flush()
        return 1 if failed else 0


def table(rows):
    """The closing table: client, messages, checks."""
    width = max([6, *map(len, rows)])
    lines = [f"{'client':<{width}}  messages  checks  failed"]
    for client, row in rows.items():
        lines.append(f"{client:<{width}}  {row['messages']:>8}  {row['checks']:>6}  {row['failed']:>6}")
    return "\n".join(lines)


def figures(rows):
    """Each figure against its budget."""
    width = max([4, *(len(row["what"]) for row in rows)])
    lines = [f"{'what':<{width}}  {'measured':>10}  {'budget':>10}"]
    for row in rows:
        budget = "-" if row["budget"] is None else f"{row['budget']:g}"
        lines.append(
            f"{row['what']:<{width}}  {row['value']:>10.4g}  {budget:>10}  {row['unit']}"
            f"{'' if row['good'] else '  OVER'}"
        )
    return "\n".join(lines)
