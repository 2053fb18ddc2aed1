"""The daemon's memory on disk: a private journal, and a copy for consoles.

The engine sees :class:`~riskd.journal.interface.IJournal`.  Consoles and riskctl read the files with
:mod:`~riskd.journal.reader` and :mod:`~riskd.journal.audit_log`, and find them with
:mod:`~riskd.journal.discovery`.  :mod:`~riskd.journal.ownership` decides for which gateway a directory is used.
"""
