"""The command line, over the same flows as Airflow's operators.

A noun's commands are in ``cmd_NOUN.py``; a large verb has a file of its own, ``NOUN_VERB.py``. ``pages`` shapes help,
``settings`` and ``configuration`` know what can be set once, ``options`` makes options and sites of it, ``output``
prints, ``bars`` draws how far a work is, and ``failures`` turns every exception into one line and an exit code.
"""
