"""Beyond one machine: from many traders' riskd to one desk, over NATS JetStream.

- :mod:`~riskd.desk.messages`: subjects, numbers and payloads.
- :mod:`~riskd.desk.relay`: what a desk knows and broadcasts, made of :mod:`~riskd.desk.ordering`,
  :mod:`~riskd.desk.links` and :mod:`~riskd.desk.desk_accounts`; :mod:`~riskd.desk.relay_service` is the program around it.

riskd itself knows nothing of any bus.
"""
