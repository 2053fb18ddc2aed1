"""riskd's own rules as Twisted plugins; riskd finds them as it finds a user's.

A change here makes Twisted read the names again, which it caches: touch this file for each new rule.
"""

from twisted.plugin import IPlugin
from zope.interface import alsoProvides

from riskd.rules.registry import RULES

for _rule in RULES:
    alsoProvides(_rule, IPlugin)
    # Twisted looks for plugins among a module's names.
    globals()[_rule.key] = _rule
del _rule
