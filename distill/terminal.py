"""Text of others, such as names of files, on a terminal."""


def for_terminal(text: str) -> str:
    """Text in one line that moves no cursor and hides nothing.

    Args:
        text: any; a file's name may hold line breaks, escape sequences, marks that turn the
            direction of writing, and bytes that are no UTF-8.

    Returns:
        It, with what cannot be printed escaped as Python does.
    """
    if text.isprintable():
        return text
    return "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape").decode("ascii")
        for letter in text
    )
