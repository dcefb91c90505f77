"""The HTTP service: one annotator behind an API and a page.

connection      HTTP from uvicorn, with a bound for heads
gate            what every request passes: key, place in the queue, bounds, time limit, log, metrics
routes          what can be asked for
desk            requests into documents for the engine, and answers back in order
engine          annotates documents, in the turns of `turns`
worker_engine   the same by processes, each with an engine at the other end (`engine_process`)
"""
