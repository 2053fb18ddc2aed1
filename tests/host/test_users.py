"""Users and groups by name, also those without one."""

from __future__ import annotations

import grp
import os
import pwd

from twisted.trial.unittest import SynchronousTestCase

from riskd.host.users import group_name, user_argument, user_name

NAMELESS = 54321


class UsersTests(SynchronousTestCase):
    """Names for sentences, and for commands."""

    def test_a_user_has_a_name(self) -> None:
        own = pwd.getpwuid(os.geteuid()).pw_name
        self.assertEqual((user_name(os.geteuid()), user_argument(os.geteuid())), (own, own))

    def test_a_command_takes_the_number_of_a_user_without_a_name(self) -> None:
        """In a container the user of a program often has none."""
        self.assertEqual(user_name(NAMELESS), "uid 54321")
        self.assertEqual(user_argument(NAMELESS), "54321")

    def test_a_group_has_a_name_or_its_number(self) -> None:
        self.assertEqual(group_name(os.getegid()), grp.getgrgid(os.getegid()).gr_name)
        self.assertEqual(group_name(NAMELESS), "54321")
