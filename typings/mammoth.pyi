from collections.abc import Callable
from typing import BinaryIO

class _Result:
    value: str

class _Images:
    @staticmethod
    def img_element(func: Callable[[object], dict[str, str]]) -> Callable[[object], object]: ...

images: _Images

def convert_to_html(
    fileobj: BinaryIO, *, style_map: str = ..., convert_image: Callable[[object], object] = ...
) -> _Result: ...
