"""The commands, one file each: options in, one clear line out when something is wrong.

Exit codes: 0 done, 1 done but some sentences failed, 2 a mistake of the user's, 130 stopped with Ctrl-C.
Nothing heavy is imported before it is needed, so that `--help` answers at once.
"""
