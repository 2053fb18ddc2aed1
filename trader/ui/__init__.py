"""The screen of ``trader-console``, drawn from a view.

A :class:`~trader.model.view.View` goes in, cells of the terminal come out; no network, no reactor.

From the outside in:

- :mod:`~trader.ui.screen`: header, page and footer; the help, made of the table of keys; how often it is drawn.
- :mod:`~trader.ui.header`: the first row, and the lines for what must not be missed.
- :mod:`~trader.ui.disconnected`: what is shown when the daemon is gone or has an error.
- :mod:`~trader.ui.pages`: the table of pages, and the rows of a page; each ``*_page`` module is one page.
- :mod:`~trader.ui.panels`, :mod:`~trader.ui.gauges`, :mod:`~trader.ui.pnl_curve`: the parts of pages.
- :mod:`~trader.ui.styled_text` and :mod:`~trader.ui.palette`: lines of text in styles, and the themes.
- :mod:`~trader.ui.terminal`: lines on a canvas, and changed cells on the terminal.

The symbols that are drawn, with their ASCII replacements, are a table in :mod:`trader.model.formatting`.
"""
