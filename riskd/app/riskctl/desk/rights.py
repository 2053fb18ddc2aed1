"""Who may do what at the server.

There is one account for the desk, and one for each trader.

The server checks to which subject a user publishes, and not where an answer is to be sent: JetStream sends its
acknowledgment to whatever subject the message names.  In one account with others, a trader could name another trader's
subject, or one of the commands to the streams, and the server would publish there on the trader's behalf.  So each
trader has an account of their own, in which there is nothing else; it hands on what is published to the trader's
subjects, as a service of the desk's account, and answers come back into it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

from riskd.desk.messages import NAME, RELAY, events_stream, inbox_prefix, last_stream
from riskd.host.errors import UserError


def check_names(desk: str, traders: tuple[str, ...]) -> None:
    """Check the names that make the subjects.

    :raises UserError: one of them cannot be in a subject, or is taken.
    """
    problems = [
        f"{what} {name!r}: expected 1 to 32 letters from a to z, digits, _ and -"
        for what, name in (("desk", desk), *(("trader", each) for each in traders))
        if not NAME.fullmatch(name)
    ]
    # Each name is a directory, too, and not all file systems tell case.
    seen = {RELAY}
    for trader in traders:
        if trader.lower() in seen:
            problems.append(
                f"trader {trader}: expected a name that nobody else at the desk has, in capitals or not"
            )
        seen.add(trader.lower())
    if problems:
        raise UserError(*problems)


def accounts_text(desk: str, users: Mapping[str, str]) -> str:
    """Return the server's accounts.

    :param users: the server's user of the relay and of each trader, by their names.
    """
    traders = sorted(name for name in users if name != RELAY)
    exports = [
        f"      {{service: {_q(_subjects(desk, each))}, accounts: [{_q(_account(desk, each))}]}}\n"
        for each in traders
    ]
    return (
        f"# The users of the desk {desk} and their rights, by riskctl desk, which writes this file again for each trader\n"
        "# that comes or goes.  A trader may publish to their own subjects alone, and receives nothing but the server's\n"
        "# answers: the account of each trader holds nothing else.\n"
        "accounts: {\n"
        f"  {_q(desk)}: {{\n"
        "    jetstream: enabled\n"
        "    users: [\n"
        f"      {{user: {_q(users[RELAY])}, permissions: {{\n"
        f"        publish: {_listed(relay_publishes(desk))}\n"
        f"        subscribe: {_listed([_answers(RELAY), f'risk.{desk}.>'])}\n"
        "      }}\n"
        "    ]\n"
        f"    exports: [\n{''.join(exports)}    ]\n"
        "  }\n"
        f"{''.join(_trader(desk, each, users[each]) for each in traders)}"
        "}\n"
    )


def relay_publishes(desk: str) -> list[str]:
    """Return where the relay may publish: commands to its two streams.

    It may make and read them, and change their settings; neither delete nor purge them.
    """
    streams = (events_stream(desk), last_stream(desk))
    commands = (
        *("STREAM.CREATE.{}", "STREAM.UPDATE.{}", "STREAM.INFO.{}", "STREAM.MSG.GET.{}"),
        *("DIRECT.GET.{}", "DIRECT.GET.{}.>"),
        # To create, to look up, to list and to delete consumers.
        *(
            "CONSUMER.*.{}",
            "CONSUMER.*.{}.>",
            "CONSUMER.DURABLE.CREATE.{}.>",
            "CONSUMER.MSG.NEXT.{}.>",
        ),
    )
    return [
        *("$JS.API.INFO", "$JS.API.STREAM.NAMES", "$JS.API.STREAM.LIST"),
        *(f"$JS.API.{command.format(stream)}" for stream in streams for command in commands),
        # What a consumer has received, and that it can take more.
        *("$JS.ACK.>", "$JS.FC.>"),
    ]


def _trader(desk: str, trader: str, user: str) -> str:
    own = _subjects(desk, trader)
    return (
        f"  {_q(_account(desk, trader))}: {{\n"
        f"    users: [{{user: {_q(user)}, permissions: {{publish: [{_q(own)}], subscribe: [{_q(_answers(trader))}]}}}}]\n"
        f"    imports: [{{service: {{account: {_q(desk)}, subject: {_q(own)}}}}}]\n"
        "  }\n"
    )


def _account(desk: str, trader: str) -> str:
    # No name has a dot, so no desk has this one.
    return f"{desk}.{trader}"


def _subjects(desk: str, trader: str) -> str:
    return f"risk.{desk}.{trader}.>"


def _answers(name: str) -> str:
    return f"{inbox_prefix(name)}.>"


def _listed(subjects: list[str]) -> str:
    return f"[{', '.join(map(_q, subjects))}]"


def _q(text: str) -> str:
    """Return a text in quotes; outside of them, ``$`` begins a variable's name."""
    return json.dumps(text)
