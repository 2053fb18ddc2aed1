"""``riskctl desk``: the files that a desk's server, relay and traders need.

- :mod:`~riskd.app.riskctl.desk.commands` runs the steps ``init``, ``add`` and ``revoke``.
- :mod:`~riskd.app.riskctl.desk.directory` is the directory that they write: who is at the desk, and where each file is.
- :mod:`~riskd.app.riskctl.desk.rights` is what each user of the server may do;
  :mod:`~riskd.app.riskctl.desk.configurations` are the texts of the other files.
- :mod:`~riskd.app.riskctl.desk.certificates` signs what shows who somebody is.
- :mod:`~riskd.app.riskctl.desk.addresses` and :mod:`~riskd.app.riskctl.desk.nats_server` check what the command line
  names and what this machine has.

docs/desk.md is for the people who use it.
"""
