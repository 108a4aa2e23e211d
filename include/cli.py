"""The command `prodsys`. Exit codes: 0 good, 1 something is wrong, 2 wrong usage."""

from __future__ import annotations

import typer

from embedded import cli as pool_commands
from embedded import commands as deployment
from include.bookkeeping import commands as ledger_commands
from include.commands import check, logs, metrics, nodes, orphans, report, specs, status, triage, truth

app = typer.Typer(
    name="prodsys",
    help="Production campaigns for high-energy-physics experiments on Apache Airflow and HTCondor.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
specs.register(app)
status.register(app)
triage.register(app)
report.register(app)
metrics.register(app)
check.register(app)
orphans.register(app)
truth.register(app)
logs.register(app)
deployment.register(app)
app.add_typer(pool_commands.app, name="pool")
app.add_typer(ledger_commands.app, name="ledger")
app.add_typer(nodes.app, name="nodes")
