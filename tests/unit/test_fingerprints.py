"""Exceptions of one kind have one fingerprint, whatever the run, the build and the host; others another."""

import time

import pytest

from tasks.processors.fingerprints import FRAMES, LINES, fingerprint, frames

PYTHON = """Traceback (most recent call last):
  File "/usr/lib/python3.12/threading.py", line 1012, in run
    self._target(*self._args)
  File "/srv/{build}/shop/cart.py", line {line}, in add
    raise KeyError(17)
KeyError: {line}"""
PYTHON_GROUP = """  + Exception Group Traceback (most recent call last):
  |   File "/srv/app/main.py", line {line}, in main
  | ExceptionGroup: many (1 sub-exception)"""
JAVA = """java.io.IOException: no {line}
\tat java.base/java.util.ArrayList.forEach(ArrayList.java:{line})
\tat app//com.shop.Cart.lambda$add${line}(Cart.java:{line})
\tat com.shop.Cart$$Lambda$1{line}/0x00000008000{line}40.run(Unknown Source)
\tat com.shop.Cart$$SpringCGLIB$${line}.add(<generated>)
\t... {line} more
Caused by: java.net.SocketException: x
\tat com.shop.Net.read(Net.java:{line})"""
NODE = """TypeError: x
    at Cart.add [as put] (/srv/{build}/cart.js:{line}:7)
    at async Promise.all (index {line})
    at /srv/{build}/lib/run.{build}.mjs:1:{line}
    at new Shop (file:///srv/{build}/shop.js:{line}:1)
    at node:internal/process/task_queues:95:5"""
FIREFOX = """add@https://shop.example/{build}/cart.js?v={line}:{line}:9
@https://shop.example/main.js:2:{line}"""
GO = """goroutine {line} [running]:
runtime/debug.Stack()
\t/usr/local/go/src/runtime/debug/stack.go:24 +0x{line}
go.opentelemetry.io/otel/sdk/trace.recordStackTrace()
\t/go/pkg/mod/go.opentelemetry.io/otel/sdk@v1.{line}/trace/span.go:{line} +0x2b
panic({{0x{line}, 0xc000012018}})
\t/usr/local/go/src/runtime/panic.go:770 +0x132
main.(*Cart).Add(0xc0000{line}, {{0x1, 0x2}})
\t/srv/{build}/cart.go:{line} +0x1d
main.main.func{line}()
\t/srv/{build}/main.go:{line} +0x25
created by main.main in goroutine {line}
\t/srv/{build}/main.go:9 +0x1d"""
NET = """System.InvalidOperationException: x
   at Shop.Cart.Add(String item, Int32 count) in C:\\{build}\\Cart.cs:line {line}
   at Shop.Cart.<>c__DisplayClass{line}_0.<Run>b__{line}()
   at Shop.Cart.<RunAsync>d__{line}.MoveNext()
--- End of stack trace from previous location ---"""
RUBY = """/srv/{build}/cart.rb:{line}:in `add'
\tfrom /srv/{build}/shop.rb:{line}:in 'Shop#run'"""
PHP = """#0 /srv/{build}/cart.php({line}): Shop\\Cart->add(Array, {line})
#1 /srv/{build}/index.php(3): run()
#2 {{main}}"""
OF = {
    "python": (PYTHON, ["cart.py:add", "threading.py:run"]),
    "python, a group": (PYTHON_GROUP, ["main.py:main"]),
    "java": (
        JAVA,
        [
            *("java.util.ArrayList.forEach", "com.shop.Cart.lambda$add$", "com.shop.Cart$$Lambda$.run"),
            *("com.shop.Cart$$SpringCGLIB$$.add", "com.shop.Net.read"),
        ],
    ),
    "node": (
        NODE,
        [
            *("cart.js:Cart.add [as put]", "Promise.all", "run..mjs:", "shop.js:new Shop"),
            "task_queues:",
        ],
    ),
    "firefox": (FIREFOX, ["cart.js:add", "main.js:"]),
    "go": (GO, ["main.(*Cart).Add", "main.main.func", "main.main"]),
    ".net": (
        NET,
        ["Shop.Cart.Add", "Shop.Cart.<>c__DisplayClass_.<Run>b__", "Shop.Cart.<RunAsync>d__.MoveNext"],
    ),
    "ruby": (RUBY, ["cart.rb:add", "shop.rb:Shop#run"]),
    "php": (PHP, ["cart.php:Shop\\Cart->add", "index.php:run"]),
}


@pytest.mark.parametrize("language", OF)
def test_frames_are_the_newest_first_without_what_differs_between_runs(language: str) -> None:
    written, expected = OF[language]
    first = written.format(line=17, build="3f9a27c1d0")
    second = written.format(line=4_200, build="77e1c0ffee")
    assert frames(first) == expected
    assert frames(second) == expected
    assert fingerprint("E", "a", first) == fingerprint("E", "b", second.replace("\n", "\r\n"))


def test_no_more_than_the_newest_frames_count() -> None:
    calls = [f'  File "a.py", line 1, in f{letter}' for letter in "abcdefgh"]
    assert frames("\n".join(calls)) == [f"a.py:f{letter}" for letter in "hgfed"]
    assert len(frames("\n".join(f"\tat a.B.{letter}(B.java:1)" for letter in "abcdefgh"))) == FRAMES


def test_type_place_and_order_tell_exceptions_apart() -> None:
    stack = "\tat a.B.c(B.java:1)\n\tat a.B.d(B.java:1)"
    other = "\tat a.B.d(B.java:1)\n\tat a.B.c(B.java:1)"
    assert len({fingerprint("E", "", stack), fingerprint("F", "", stack), fingerprint("E", "", other)}) == 3


@pytest.mark.parametrize(
    ("one", "same"),
    [
        ("no row 17", "no row 4"),
        ("no key 'a b' in it", "no key 'c' in it"),
        ('no key "a" in it', 'no key "b c" in it'),
        (
            "can't read 550e8400-e29b-41d4-a716-446655440000",
            "can't read 650e8400-e29b-41d4-a716-44665544000f",
        ),
        ("at 0xdeadbeef", "at 0x7f1"),
        ("commit 3f9a27c1d0 is gone", "commit 77e1c0ffee is gone"),
    ],
)
def test_without_frames_the_words_of_the_message_count(one: str, same: str) -> None:
    assert fingerprint("E", one, "no frame") == fingerprint("E", same, "")
    assert fingerprint("E", one, "") != fingerprint("E", f"{one} still", "")
    assert len(fingerprint("", "", "")) == 16


@pytest.mark.parametrize("line", ["\n", " " * 511 + "\n", "a:1" * 170 + "\n", '("' * 255 + "\n", "\x85"])
def test_what_is_no_stack_trace_does_not_take_long(line: str) -> None:
    hostile = line * (262_144 // len(line))
    began_s = time.process_time()
    assert frames(hostile) == []
    frames(f"at {hostile}")
    assert time.process_time() - began_s < 1.0


def test_a_word_of_hexadecimal_letters_stays_and_does_not_take_long() -> None:
    assert frames("\tat a.Deadbeef.c(A.java:1)\n\tat a.Deadbee7.c(A.java:1)") == ["a.Deadbeef.c", "a..c"]
    hostile = ("at " + "a" * 509 + "\n") * LINES
    began_s = time.process_time()
    for _ in range(400):
        frames(hostile)
    assert time.process_time() - began_s < 1.0


def test_the_first_and_the_last_lines_are_looked_at() -> None:
    java, python = "\tat a.B.c(B.java:1)", 'File "a.py", line 1, in f'
    assert frames("\n".join(["x"] * (LINES - 1) + [java])) == ["a.B.c"]
    assert frames("\n".join(["x"] * LINES + [java])) == []
    assert frames("\n".join([python] + ["x"] * (LINES - 1))) == ["a.py:f"]
    assert frames("\n".join([python] + ["x"] * LINES)) == []
