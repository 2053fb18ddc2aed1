"""``riskctl doctor``: what is wrong on this machine, and what mends it.

- :mod:`~riskd.app.riskctl.doctor.examination` runs all checks, each within a time, and
  :mod:`~riskd.app.riskctl.doctor.findings` is what they find.
- Each other module has the checks of one kind.  They change nothing, and none disturbs a riskd that runs.
"""
