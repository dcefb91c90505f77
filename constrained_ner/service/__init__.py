"""The HTTP service: one annotator behind an API and a page.

gate     what every request passes: key, place in the queue, bounds, time limit, log, metrics
routes   what can be asked for
desk     requests into documents for the engine, and answers back in order
engine   annotates a document: in this process, or in worker processes
"""
