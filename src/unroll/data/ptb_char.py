"""Penn Treebank by characters."""

from unroll.data.hub_text import HubText


class PtbCharacters(HubText):
    """The character version that papers report on, made from the word version (Mikolov et al. 2012).

    Each line is stripped and its spaces become `_`.
    """

    def transform(self, text: str) -> str:
        return "\n".join(line.strip(" ").replace(" ", "_") for line in text.split("\n"))
