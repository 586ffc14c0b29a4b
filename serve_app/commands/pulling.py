"""Pulling weights for people: what will be fetched is said first, then a bar shows it come."""

from __future__ import annotations

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

from deployments.core.errors import CheckpointError
from deployments.weights.fetch import default_fetchers
from deployments.weights.plan import PullPlan, gigabytes, plan_pull
from deployments.weights.pull import PullProgress, pull

COLUMNS = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn())

console = Console(stderr=True, highlight=False)


def pull_with_bar(name: str) -> None:
    """Raises CheckpointError if the model cannot be had or has no room on the disk."""
    fetchers = default_fetchers()
    with console.status(f"{name}: asking how large it is"):
        plan = plan_pull(name, fetchers)
    if plan.files:
        console.print(announcement(plan), markup=False, soft_wrap=True)
    if problem := plan.disk_problem():
        raise CheckpointError(problem)
    with Progress(*COLUMNS, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task(
            name, total=None
        )  # in motion until the first bytes are there: npm tells of none

        def show(state: PullProgress) -> None:
            total = plan.size_bytes if state.bytes_done else None
            progress.update(task, description=state.file or name, completed=state.bytes_done, total=total)

        directory = pull(name, progress=show, fetchers=fetchers)
    console.print(f"{name}: complete in {directory}", markup=False, soft_wrap=True)


def announcement(plan: PullPlan) -> str:
    """One line: how much, under which licence, to where."""
    size = "of unknown size" if plan.size_bytes is None else gigabytes(plan.size_bytes)
    begun = f" ({gigabytes(plan.begun_bytes)} of it are here)" if plan.begun_bytes else ""
    files = f"{len(plan.files)} file{'s' * (len(plan.files) > 1)}"
    return f"{plan.name}: fetching {files}, {size}{begun}, to {plan.directory}. Licence: {plan.licence}."
