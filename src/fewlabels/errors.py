"""The one exception that means: the person at the keyboard can put this right."""


class UserError(ValueError):
    """Bad input from outside: a setting, a file, a machine that lacks something.

    Its message names the key or the file, what was received, what would be accepted, and the remedy; the scripts
    print it without a traceback and exit with a code other than 0. Everything else that is raised is a defect of
    ours and keeps its traceback.
    """
