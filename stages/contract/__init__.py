"""What the parts of Tuskwatch agree on: pipelines, names, paths and records.

Everything may read it. It reads nothing but the standard library.

============================================  ===================================================================
to change                                     edit
============================================  ===================================================================
how images are named                          :mod:`stages.contract.names`
where a pipeline writes, and what             :mod:`stages.contract.layout`
the fields of a file that a pipeline writes   :mod:`stages.contract.records`, then ``python -m stages.contract schemas``
which pipelines there are                     nothing: each folder of ``stages/`` with a ``pipeline.json`` is one
============================================  ===================================================================
"""
