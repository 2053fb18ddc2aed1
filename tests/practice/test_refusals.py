"""The errors with which the practice broker refuses requests."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from riskd.practice.refusals import can_be_pending, refusal


class RefusalTests(SynchronousTestCase):
    def test_the_same_error_has_the_code_of_each_request(self) -> None:
        for request, code in (
            ("Order/place", 2),
            ("Order/cancel", 3),
            ("Order/modify", 3),
            ("Position/closeContract", 5),
            ("Position/partialCloseContract", 6),
        ):
            error = refusal(request, "Rejected", "not now")
            self.assertEqual((error.request, error.code, error.why), (request, code, "not now"))

    def test_an_error_that_the_request_does_not_have_is_a_mistake(self) -> None:
        for request, error in (("Order/place", "Pending"), ("Order/nothing", "Rejected")):
            self.assertRaises(KeyError, refusal, request, error, "not now")

    def test_only_changes_of_what_exists_can_be_pending(self) -> None:
        requests = (
            "Order/place",
            "Order/cancel",
            "Order/modify",
            "Position/closeContract",
            "Position/partialCloseContract",
        )
        self.assertEqual(
            [can_be_pending(request) for request in requests], [False, True, True, True, True]
        )
