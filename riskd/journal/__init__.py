"""The daemon's memory on disk: a private journal, and the copy that consoles read.

The engine sees :class:`~riskd.journal.interface.IJournal`.  Consoles and riskctl read the files with
:mod:`~riskd.journal.reader` and :mod:`~riskd.journal.audit_log`.
"""
