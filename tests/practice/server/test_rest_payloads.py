"""Payloads of the REST API; test_api.py checks their fields."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from riskd.practice.server.rest_payloads import full_order


class TimeTests(SynchronousTestCase):
    def test_times_have_one_form_in_any_time_zone(self) -> None:
        for text in (
            "2026-03-02T15:00:00+00:00",
            "2026-03-02T16:00:00.000000+01:00",
            "2026-03-02T15:00:00Z",
        ):
            order = full_order({"creationTimestamp": text, "updateTimestamp": text})
            self.assertEqual(order["creationTimestamp"], "2026-03-02T15:00:00.000000+00:00")
