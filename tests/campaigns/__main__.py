"""Run campaigns one by one and print their table; what was done before is not done again."""

from __future__ import annotations

import json
import tempfile
import time
from pathlib import Path

import click
from tqdm import tqdm

from tests.campaigns.campaigns import CAMPAIGNS, Campaign
from tests.campaigns.forks import UnavailableError

NUMBERS = [str(campaign.number) for campaign in CAMPAIGNS]
MAX_SHOWN = 20


def show_table(results: list[dict]) -> str:
    """Lay results out as a Markdown table."""
    rows = ["| # | campaign | cases | bad | minutes |", "|---|---|---|---|---|"]
    rows += [
        f"| {r['number']} | {r['title']} | {r['cases']:,} | {len(r['bad'])} | {r['minutes']:.1f} |"
        for r in sorted(results, key=lambda r: r["number"])
    ]
    return "\n".join(rows)


def run_campaign(campaign: Campaign, seed: int, size: int, folder: Path) -> dict:
    """Run a campaign and return its line of the table."""
    started = time.monotonic()
    bad, num_cases = [], 0
    verdicts = campaign.verdicts(seed, size, folder)
    with tqdm(verdicts, desc=f"campaign {campaign.number}", total=size or None, unit="case") as bar:
        for verdict in bar:
            num_cases += 1
            if verdict.bad:
                bad.append(f"{verdict.case}: {verdict.bad}")
                if len(bad) <= MAX_SHOWN:
                    tqdm.write(f"BAD {bad[-1]}")
    return {
        "number": campaign.number,
        "title": campaign.title,
        "seed": seed,
        "size": size,
        "cases": num_cases,
        "bad": bad,
        "minutes": (time.monotonic() - started) / 60,
    }


@click.command()
@click.option("--campaign", "only", type=click.Choice(NUMBERS), multiple=True, help="Repeatable.")
@click.option("--quick", is_flag=True, help="The short forms, as in the test suite.")
@click.option("--size", type=int, help="Another number of cases.")
@click.option("--seed", default=0, show_default=True)
@click.option(
    "--results",
    "results_path",
    type=click.Path(path_type=Path),
    default=Path(tempfile.gettempdir()) / "mpar-reliability.json",
    show_default=True,
    help="What is listed here with the same seed and size is not run again.",
)
def main(
    only: tuple[str, ...], quick: bool, size: int | None, seed: int, results_path: Path
) -> None:
    """Try to make mpar lose or lie; exit with 1 if it did."""
    results = json.loads(results_path.read_text()) if results_path.exists() else []
    for campaign in CAMPAIGNS:
        if only and str(campaign.number) not in only:
            continue
        wanted = size if size is not None else campaign.short if quick else campaign.full
        key = {"number": campaign.number, "seed": seed, "size": wanted}
        if any(result | key == result for result in results):
            continue
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
            try:
                result = run_campaign(campaign, seed, wanted, Path(folder))
            except UnavailableError as error:
                click.echo(f"campaign {campaign.number} left out: {error}")
                continue
        results = [r for r in results if r["number"] != campaign.number] + [result]
        results_path.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")
    click.echo(show_table(results))
    raise SystemExit(any(result["bad"] for result in results))


if __name__ == "__main__":
    main()
