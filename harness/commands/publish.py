"""Put a finished run's adapter on the hub, as it lies in its folder: `python -m harness publish RUN --to user/name`."""

from __future__ import annotations

import re
from pathlib import Path

from harness.commands._finished import finished_run
from harness.errors import Parser, UserError, first_line
from harness.network import unreachable

DESCRIPTION = """\
Put a finished run's adapter on the Hugging Face hub, with its tokenizer, prompt, generation settings and model card.
The repository is made if there is none. The token is the one that `hf auth login` has kept, or HF_TOKEN."""


def main(arguments: list[str]) -> None:
    """Upload it and print where it is. Raises UserError."""
    options = Parser(prog="python -m harness publish", description=DESCRIPTION)
    options.add_argument("run", metavar="RUN", help="id of a finished run")
    options.add_argument("--to", required=True, metavar="USER/NAME", help="the repository")
    options.add_argument("--private", action="store_true", help="where it is made: for you alone")
    options.add_argument("--results", type=Path, default=Path("results"), metavar="FOLDER", help="default: results")
    chosen = options.parse_args(arguments)
    run = finished_run(chosen.run, chosen.results)
    print(publish(run.adapter, f"{run.record.label}, run {run.record.id}", chosen.to, chosen.private))


def publish(folder: Path, message: str, repository: str, private: bool) -> str:
    """Upload a folder; the address of the repository. Raises UserError."""
    from huggingface_hub import HfApi, get_token
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    if not re.fullmatch("[^/]+/[^/]+", repository):  # made under the user's name, it would not be found by this one
        raise UserError(f"--to {repository}: must be USER/NAME")
    if get_token() is None:
        raise UserError("publish: there is no token; run `hf auth login`, or set HF_TOKEN")
    if why := unreachable():
        raise UserError(f"publish: {why}; check the network")
    try:
        api = HfApi(library_name="peft-harness")
        api.create_repo(repository, private=private, exist_ok=True)
        api.upload_folder(repo_id=repository, folder_path=folder, commit_message=message)
    except HFValidationError as error:
        raise UserError(f"--to {repository}: {first_line(error)}") from None
    except (HfHubHTTPError, ValueError, OSError) as error:
        why = f"{repository} cannot be written to ({first_line(error)})"
        raise UserError(f"publish: {why}; check the name and what the token may do") from None
    return f"{api.endpoint}/{repository}"
