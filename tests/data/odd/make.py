#!/usr/bin/env python3
"""Writes the odd messages of this folder, README.md and structures.txt.

Each has a name, what is odd about it, the structure that the RFCs (or, where they are silent, the head of
src/mail/scanner.rs) give it, and its exact octets. No message holds NUL: IMAP's APPEND refuses it.
"""
import os

HERE = os.path.dirname(os.path.abspath(__file__))
ALL = []


def odd(name, what, structure, octets):
    if isinstance(octets, str):
        octets = octets.replace("\n", "\r\n").encode("utf-8")
    assert b"\0" not in octets, name
    ALL.append((name, what, structure, octets))


HEAD = ("From: Mary Smith <mary@example.net>\nTo: alice@example.org\nSubject: %s\n"
        "Date: Fri, 21 Nov 1997 09:55:06 -0600\nMessage-ID: <%s@example.net>\n")


def head(name, more=""):
    return HEAD % (name.replace("-", " "), name) + more


def mime(name, content_type, more=""):
    return head(name, "MIME-Version: 1.0\nContent-Type: %s\n%s" % (content_type, more))


def simple(name, what, content_type, body, structure, more=""):
    odd(name, what, structure, mime(name, content_type, more) + "\n" + body)


# Plain messages.
odd("plain", "nothing odd: RFC 5322 A.1.1", "text/plain", head("plain") + "\nThis is a message just to say hello.\n")
odd("empty-body", "a header, a blank line, nothing", "text/plain", head("empty-body") + "\n")
odd("no-body-no-blank-line", "a header and no blank line (RFC 5322 3.5 allows it)", "text/plain", head("no-body-no-blank-line"))
odd("no-header", "a blank line first", "text/plain", "\nThere is no header.\n")
odd("only-a-blank-line", "CRLF alone", "text/plain", "\n")
odd("one-octet", "one octet, no line end", "text/plain", "x")
odd("no-final-line-end", "the last line does not end", "text/plain", head("no-final-line-end") + "\nlast line")
odd("header-without-line-end", "the message ends inside a field", "text/plain", head("header-without-line-end").rstrip("\n"))
odd("blank-lines-at-the-end", "the body ends with blank lines", "text/plain", head("blank-lines-at-the-end") + "\ntext\n\n\n\n")
odd("dots-on-lines", "lines of dots, as SMTP and POP3 stuff them", "text/plain",
    head("dots-on-lines") + "\n.\n..\n.first\n...\nmiddle.\n.\n")
odd("from-on-a-line", "lines that begin with From, as mbox quotes them", "text/plain",
    head("from-on-a-line") + "\nFrom here on\n>From there\n>>From afar\n")
odd("mbox-from-line-first", "an mbox separator before the header", "text/plain",
    "From mary@example.net Fri Nov 21 09:55:06 1997\n" + head("mbox-from-line-first") + "\ntext\n")
odd("bare-lf", "every line ends with LF alone", "text/plain",
    (head("bare-lf") + "\nUnix\nlines\n").encode())
odd("bare-lf-multipart", "a multipart whose lines end with LF alone", "multipart/mixed(text/plain,text/html)",
    (mime("bare-lf-multipart", "multipart/mixed; boundary=b") + "\n--b\n\none\n--b\nContent-Type: text/html\n\n<p>two\n--b--\n").encode())
odd("mixed-line-ends", "CRLF in the header, LF in the body, CR somewhere", "text/plain",
    head("mixed-line-ends").replace("\n", "\r\n").encode() + b"\r\none\ntwo\r\nthree\rstill three\r\n")
odd("bare-cr", "CR without LF inside lines", "text/plain",
    head("bare-cr").replace("\n", "\r\n").encode() + b"\r\na\rb\r\rc\r\n\rd\r\n")
odd("all-bare-cr", "an old Macintosh's line ends: one long line", "text/plain", head("x").replace("\n", "\r").encode() + b"\rtext\r")
odd("cr-cr-lf", "CR CR LF line ends, as broken gateways make them", "text/plain",
    head("cr-cr-lf").replace("\n", "\r\n").encode() + b"\r\none\r\r\ntwo\r\r\n")
odd("crlf-split-by-boundary", "bare LF before one boundary, CRLF before the next", "multipart/mixed(text/plain,text/plain)",
    mime("crlf-split-by-boundary", "multipart/mixed; boundary=b").replace("\n", "\r\n").encode()
    + b"\r\n--b\r\n\r\none\n--b\n\ntwo\r\n--b--\r\n")
odd("long-line-body", "a body line of 5,000 octets", "text/plain", head("long-line-body") + "\n" + "x" * 5000 + "\nend\n")
odd("long-line-header", "a field of 4,000 octets without folding", "text/plain",
    head("long-line-header", "X-Long: " + "y" * 4000 + "\n") + "\ntext\n")
odd("many-folds", "a field folded 200 times", "text/plain", head("many-folds", "X-Folded:" + "\n a" * 200 + "\n") + "\ntext\n")
odd("many-fields", "500 fields", "text/plain",
    head("many-fields", "".join("X-Field-%d: %d\n" % (n, n) for n in range(500))) + "\ntext\n")
odd("many-recipients", "300 recipients in To", "text/plain",
    ("From: mary@example.net\nTo: " + ",\n ".join("Person %d <p%d@example.org>" % (n, n) for n in range(300))
     + "\nSubject: many recipients\n\ntext\n"))
odd("tab-folding", "fields folded with tabs, and one of white space only lines", "text/plain",
    head("tab-folding", "X-Tab: a\n\tb\n \t \n\tc\n") + "\ntext\n")
odd("field-without-colon", "a line in the header that is no field", "text/plain",
    "From: mary@example.net\nthis is no field\nSubject: after it\n\ntext\n")
odd("space-before-colon", "white space between name and colon (RFC 5322 4.5)", "text/html",
    "From : mary@example.net\nSubject \t: spaced\nContent-Type : text/html\n\n<p>text\n")
odd("empty-fields", "fields without a value", "text/plain",
    "From:\nTo: \nSubject:\nDate:\nMessage-ID:\nContent-Type:\n\ntext\n")
odd("duplicate-fields", "two From, two Subject, two Content-Type: the first counts", "text/html",
    "From: a@example.net\nFrom: b@example.net\nSubject: first\nSubject: second\nContent-Type: text/html\nContent-Type: image/png\n\n<p>x\n")
odd("header-starts-with-space", "the first line is a continuation of nothing", "text/plain", " leading\nSubject: x\n\ntext\n")
odd("lower-case-names", "field names in lower and mixed case", "text/html",
    "from: mary@example.net\nsUbJeCt: case\ncontent-TYPE: TEXT/HTML\n\n<p>x\n")
odd("no-from-no-date", "neither From nor Date", "text/plain", "Subject: anonymous\n\ntext\n")
odd("obsolete-dates", "an obsolete date, comments, two-digit year (RFC 5322 A.6.3)", "text/plain",
    "From: mary@example.net\nDate: Fri, 21 Nov 97 09(comment):   55  :  06 EST\nSubject: obsolete\n\ntext\n")
odd("groups", "groups, an empty one among them (RFC 5322 A.1.3)", "text/plain",
    "From: Pete <pete@silly.example>\nTo: A Group:Ed Jones <c@a.test>,joe@where.test,John <jdoe@one.test>;\n"
    "Cc: Undisclosed recipients:;\nSubject: groups\n\ntext\n")
odd("obsolete-addresses", "comments, routes, empty list members (RFC 5322 A.5, A.6)", "text/plain",
    "From: Pete(A nice \\) chap) <pete(his account)@silly.test(his host)>\n"
    "To: Mary Smith <@node.test:mary@example.net>, , jdoe@test  . example\nSubject: obsolete\n\ntext\n")
odd("broken-addresses", "quotes and brackets never closed, no domain, two at signs", "text/plain",
    "From: \"Mary <mary@example.net>\nTo: <joe, a@b@c, undisclosed\nCc: ,,;;\nSubject: broken\n\ntext\n")

# Octets beyond ASCII.
simple("utf-8-header-raw", "UTF-8 in fields without encoding (RFC 6532)", "text/plain; charset=utf-8", "Grüße\n", "text/plain",
       "X-Name: Jörg Müller 用户\nKeywords: größe\n")
odd("latin-1-header-raw", "ISO 8859-1 octets in fields", "text/plain",
    b"From: J\xf6rg <joerg@example.net>\r\nSubject: Gr\xfc\xdfe\r\n\r\nSch\xf6n\r\n")
odd("encoded-words", "RFC 2047 words: split, adjacent, of several charsets", "text/plain",
    "From: =?ISO-8859-1?Q?Keld_J=F8rn_Simonsen?= <keld@example.dk>\n"
    "Subject: =?ISO-8859-1?B?SWYgeW91IGNhbiByZWFkIHRoaXMgeW8=?=\n =?ISO-8859-2?B?dSB1bmRlcnN0YW5kIHRoZSBleGFtcGxlLg==?=\n\ntext\n")
odd("broken-encoded-words", "words that are none: no end, no charset, wrong encoding", "text/plain",
    "From: =?utf-8?q?never ends <a@example.net>\nSubject: =??q?x?= =?utf-8?z?x?= =?utf-8?b?$$$?=\n\ntext\n")
odd("eight-bit-undeclared", "8-bit octets in a body that says nothing about them", "text/plain",
    head("eight-bit-undeclared").replace("\n", "\r\n").encode() + b"\r\n\xe4\xf6\xfc \xff\xfe\x80\r\n")
odd("every-octet-but-nul", "all octets 1 to 255 in the body", "application/octet-stream",
    mime("every-octet-but-nul", "application/octet-stream", "Content-Transfer-Encoding: binary\n").replace("\n", "\r\n").encode()
    + b"\r\n" + bytes(range(1, 256)) * 2)
odd("control-characters", "control characters in fields and body", "text/plain",
    b"From: a@example.net\r\nSubject: be\x07ll \x1b[31mred\x7f\r\n\r\n\x0c\x0b\x08\x1a\r\n")
odd("utf-16-body", "a body in UTF-16 without its zero octets being possible: base64", "text/plain",
    mime("utf-16-body", "text/plain; charset=utf-16le", "Content-Transfer-Encoding: base64\n") + "\n//5HAHIA/AA=\n")
simple("iso-2022-jp", "Japanese in seven bits with escapes", "text/plain; charset=iso-2022-jp",
       "\x1b$B4A;z\x1b(B\n", "text/plain")
simple("quoted-printable", "soft line breaks, lower case digits, an equals sign too many", "text/plain; charset=utf-8",
       "Gr=C3=BC=c3=9fe a=\nb = c\n=\nend=", "text/plain", "Content-Transfer-Encoding: quoted-printable\n")
simple("base64-broken", "base64 with spaces, no padding, rubbish", "text/plain; charset=utf-8",
       "R3L Dv*MOf\n\nZQ!!\n", "text/plain", "Content-Transfer-Encoding: base64\n")
simple("unknown-encoding", "an encoding nobody knows", "text/plain", "begin 644 x\n", "text/plain",
       "Content-Transfer-Encoding: x-uuencode\n")

# Content-Type.
simple("content-type-without-subtype", "Content-Type: text (RFC 2045 5.2: the default stands)", "text", "x\n", "text/plain")
simple("content-type-nonsense", "Content-Type of rubbish", ";;; = /x", "x\n", "text/plain")
simple("content-type-comments", "comments wherever they may stand (RFC 2045 5.1)",
       "text (a) / (b) html ; (c) charset = (d) us-ascii (e)", "<p>x\n", "text/html")
simple("content-type-no-semicolon", "parameters without semicolons between", "text/plain charset=utf-8 format=flowed", "x\n",
       "text/plain")
simple("parameters-rfc-2231", "a file name in pieces, with charset and language (RFC 2231 4.1)",
       "application/x-stuff;\n title*0*=us-ascii'en'This%20is%20even%20more%20;\n title*1*=%2A%2A%2Afun%2A%2A%2A%20;\n title*2=\"isn't it!\"",
       "x\n", "application/x-stuff")
simple("file-name-spaces", "a file name with spaces and no quotes", "application/pdf; name=My Holiday Plans.pdf", "x\n",
       "application/pdf", "Content-Disposition: attachment; filename=My Holiday Plans.pdf\n")
simple("file-name-raw-8-bit", "a file name in raw UTF-8", "application/pdf; name=\"Übersicht.pdf\"", "x\n", "application/pdf",
       "Content-Disposition: attachment; filename=\"Übersicht.pdf\"\n")
simple("all-content-fields", "every MIME field at once", "text/plain; charset=us-ascii", "x\n", "text/plain",
       "Content-ID: <id@example.net>\nContent-Description: a text\nContent-Transfer-Encoding: 7BIT\n"
       "Content-MD5: Q2hlY2sgSW50ZWdyaXR5IQ==\nContent-Disposition: inline; filename=\"a.txt\"; size=3\n"
       "Content-Language: en, de-CH (Swiss)\nContent-Location: http://example.net/a.txt\n")

# Multiparts.
simple("multipart", "nothing odd: RFC 2046 5.1.1, with preamble and epilogue", "multipart/mixed; boundary=\"simple boundary\"",
       "This is the preamble.\n\n--simple boundary\n\nThis is implicitly typed plain US-ASCII text.\nIt does NOT end with a linebreak.\n"
       "--simple boundary\nContent-type: text/plain; charset=us-ascii\n\nThis is explicitly typed plain US-ASCII text.\nIt DOES end with a linebreak.\n\n"
       "--simple boundary--\n\nThis is the epilogue.\n", "multipart/mixed(text/plain,text/plain)")
simple("attachment", "a text and an attached file", "multipart/mixed; boundary=b",
       "--b\nContent-Type: text/plain\n\nsee attached\n--b\nContent-Type: application/pdf; name=a.pdf\n"
       "Content-Transfer-Encoding: base64\nContent-Disposition: attachment; filename=a.pdf\n\nJVBERi0xLjQK\n--b--\n",
       "multipart/mixed(text/plain,application/pdf)")
simple("alternative-related-mixed", "mixed of (alternative of text and (related of HTML and image)) and a file",
       "multipart/mixed; boundary=m",
       "--m\nContent-Type: multipart/alternative; boundary=a\n\n--a\n\ntext\n--a\nContent-Type: multipart/related; boundary=r\n\n"
       "--r\nContent-Type: text/html\n\n<img src=cid:i>\n--r\nContent-Type: image/png\nContent-ID: <i>\n\nx\n--r--\n--a--\n"
       "--m\nContent-Type: application/pdf\n\ny\n--m--\n",
       "multipart/mixed(multipart/alternative(text/plain,multipart/related(text/html,image/png)),application/pdf)")
simple("multipart-no-boundary-parameter", "a multipart that names no boundary (RFC 2045 5.2: text/plain)", "multipart/mixed",
       "--b\n\nx\n--b--\n", "text/plain")
simple("multipart-boundary-never-comes", "a boundary that is not in the body", "multipart/mixed; boundary=nowhere",
       "There is no part.\n", "multipart/mixed(text/plain)")
simple("multipart-empty-body", "a multipart with nothing in it", "multipart/mixed; boundary=b", "", "multipart/mixed(text/plain)")
simple("multipart-only-closed", "a close delimiter and no part", "multipart/mixed; boundary=b", "--b--\n", "multipart/mixed(text/plain)")
simple("multipart-never-closed", "no close delimiter", "multipart/mixed; boundary=b", "--b\n\none\n--b\n\ntwo\n",
       "multipart/mixed(text/plain,text/plain)")
simple("multipart-cut-in-header", "the message ends inside a part's header", "multipart/mixed; boundary=b",
       "--b\n\none\n--b\nContent-Type: text/ht", "multipart/mixed(text/plain,text/ht)")
simple("multipart-cut-in-boundary", "the message ends inside a delimiter", "multipart/mixed; boundary=boundary",
       "--boundary\n\none\n--boun", "multipart/mixed(text/plain)")
simple("multipart-delimiter-last", "the message ends with a delimiter and no line end", "multipart/mixed; boundary=b",
       "--b\n\none\n--b", "multipart/mixed(text/plain)")
simple("multipart-part-without-blank-line", "a part's header is followed by the next delimiter", "multipart/mixed; boundary=b",
       "--b\nContent-Type: text/html\n--b\n\ntwo\n--b--\n", "multipart/mixed(text/html,text/plain)")
simple("multipart-empty-parts", "parts with a blank line only, and parts with nothing", "multipart/mixed; boundary=b",
       "--b\n\n--b\n\n\n--b\n--b--\n", "multipart/mixed(text/plain,text/plain,text/plain)")
simple("multipart-text-after-close", "delimiters after the close delimiter are epilogue", "multipart/mixed; boundary=b",
       "--b\n\none\n--b--\n--b\n\nepilogue\n--b--\n", "multipart/mixed(text/plain)")
simple("multipart-delimiter-padding", "white space and text after the delimiters (RFC 2046 5.1.1, 5.1.2)",
       "multipart/mixed; boundary=b", "--b   \n\none\n--b\t\n\ntwo\n--b-- and more\nepilogue\n",
       "multipart/mixed(text/plain,text/plain)")
simple("multipart-almost-delimiters", "lines that look like delimiters", "multipart/mixed; boundary=bound",
       "--b\n-bound\n --bound\n--bound\n\none\n--boun\n- --bound\n--BOUND\n--bound--\n", "multipart/mixed(text/plain)")
simple("multipart-boundary-with-spaces", "a boundary of every allowed character (RFC 2046 5.1.1)",
       "multipart/mixed; boundary=\"a b'()+_,-./:=?z\"", "--a b'()+_,-./:=?z\n\none\n--a b'()+_,-./:=?z--\n", "multipart/mixed(text/plain)")
simple("multipart-boundary-of-hyphens", "a boundary of hyphens, and text that begins with fewer", "multipart/mixed; boundary=\"----\"",
       "------\n\none\n-----\n------\n\ntwo\n--------\n", "multipart/mixed(text/plain,text/plain)")
simple("multipart-boundary-too-long", "a boundary of 300 octets", "multipart/mixed; boundary=" + "b" * 300,
       "--" + "b" * 300 + "\n\none\n--" + "b" * 300 + "\n\ntwo\n--" + "b" * 300 + "--\n", "multipart/mixed(text/plain,text/plain,text/plain)")
simple("boundary-prefix-of-inner", "the outer boundary is the beginning of the inner one (RFC 2046 5.1.2)",
       "multipart/mixed; boundary=foo",
       "--foo\nContent-Type: multipart/alternative; boundary=foobar\n\n--foobar\n\none\n--foobar\n\ntwo\n--foobar--\n--foo\n\nthree\n--foo--\n",
       "multipart/mixed(multipart/alternative(text/plain,text/plain),text/plain)")
simple("boundary-prefix-of-outer", "the inner boundary is the beginning of the outer one", "multipart/mixed; boundary=foobar",
       "--foobar\nContent-Type: multipart/alternative; boundary=foo\n\n--foo\n\none\n--foo\n\ntwo\n--foo--\n--foobar\n\nthree\n--foobar--\n",
       "multipart/mixed(multipart/alternative(text/plain,text/plain),text/plain)")
simple("same-boundary-nested", "a multipart inside another with the same boundary", "multipart/mixed; boundary=b",
       "--b\nContent-Type: multipart/mixed; boundary=b\n\n--b\n\ninner\n--b--\n--b\n\nouter\n--b--\n",
       "multipart/mixed(multipart/mixed(text/plain),text/plain)")
simple("inner-never-closed", "the outer delimiter ends an inner multipart that was not closed", "multipart/mixed; boundary=o",
       "--o\nContent-Type: multipart/mixed; boundary=i\n\n--i\n\none\n--i\n\ntwo\n--o\n\nthree\n--o--\n",
       "multipart/mixed(multipart/mixed(text/plain,text/plain),text/plain)")
simple("digest", "a digest whose parts are messages by default (RFC 2046 5.1.5)", "multipart/digest; boundary=b",
       "--b\n\nFrom: someone-else@example.net\nSubject: my opinion\n\nbody one\n--b\nContent-Type: text/plain\n\nno message\n"
       "--b\n\nFrom: someone-else@example.net\nSubject: my different opinion\n\nbody two\n--b--\n",
       "multipart/digest(message/rfc822(text/plain),text/plain,message/rfc822(text/plain))")
simple("multipart-base64", "a multipart that says it is base64 (RFC 2045 6.4 forbids it)", "multipart/mixed; boundary=b",
       "--b\n\none\n--b--\n", "multipart/mixed(text/plain)", "Content-Transfer-Encoding: base64\n")
simple("multipart-unknown-subtype", "an unknown multipart is mixed (RFC 2046 5.1.7)", "multipart/x-unheard; boundary=b",
       "--b\n\none\n--b--\n", "multipart/x-unheard(text/plain)")
simple("signed", "a PGP signature: the first part's octets must stay as they are (RFC 3156)",
       "multipart/signed; boundary=s; micalg=pgp-sha256; protocol=\"application/pgp-signature\"",
       "--s\nContent-Type: text/plain\n\nsigned  \n\n--s\nContent-Type: application/pgp-signature\n\n-----BEGIN PGP SIGNATURE-----\n\nx\n-----END PGP SIGNATURE-----\n--s--\n",
       "multipart/signed(text/plain,application/pgp-signature)")
simple("delivery-report", "a bounce (RFC 3464)", "multipart/report; report-type=delivery-status; boundary=b",
       "--b\n\nIt did not work.\n--b\nContent-Type: message/delivery-status\n\nReporting-MTA: dns; mx.example.net\n\n"
       "Final-Recipient: rfc822; nobody@example.org\nAction: failed\nStatus: 5.1.1\n--b\nContent-Type: text/rfc822-headers\n\nSubject: lost\n--b--\n",
       "multipart/report(text/plain,message/delivery-status,text/rfc822-headers)")
simple("partial-and-external", "message types that are no message", "multipart/mixed; boundary=b",
       "--b\nContent-Type: message/partial; id=\"x@y\"; number=1; total=2\n\nSubject: half\n\nhalf\n"
       "--b\nContent-Type: message/external-body; access-type=URL; URL=\"http://example.net/\"\n\nContent-Type: image/png\n\n\n--b--\n",
       "multipart/mixed(message/partial,message/external-body)")


def parts(n):
    return "".join("--b\n\npart %d\n" % i for i in range(n)) + "--b--\n"


simple("hundred-parts", "100 parts", "multipart/mixed; boundary=b", parts(100),
       "multipart/mixed(" + ",".join(["text/plain"] * 100) + ")")

# Messages inside messages.
simple("message", "a forwarded message", "message/rfc822", "From: joe@example.org\nSubject: inner\n\ninner body\n",
       "message/rfc822(text/plain)")
simple("message-empty", "a message/rfc822 with nothing in it", "message/rfc822", "", "message/rfc822(text/plain)")
simple("message-without-header", "a message/rfc822 that begins with a blank line", "message/rfc822", "\nbody\n",
       "message/rfc822(text/plain)")
simple("message-base64", "a message/rfc822 in base64 (RFC 2046 5.2.1 forbids it)", "message/rfc822",
       "U3ViamVjdDogaGlkZGVuCgpib2R5Cg==\n", "message/rfc822(text/plain)", "Content-Transfer-Encoding: base64\n")
simple("message-in-multipart-cut", "the outer delimiter comes inside the inner message's header", "multipart/mixed; boundary=b",
       "--b\nContent-Type: message/rfc822\n\nFrom: joe@example.org\nSubject: cut\n--b\n\nafter\n--b--\n",
       "multipart/mixed(message/rfc822(text/plain),text/plain)")
simple("message-multipart-inside", "a forwarded multipart, never closed", "multipart/mixed; boundary=o",
       "--o\n\nsee below\n--o\nContent-Type: message/rfc822\n\nSubject: inner\nContent-Type: multipart/mixed; boundary=i\n\n--i\n\none\n--o--\n",
       "multipart/mixed(text/plain,message/rfc822(multipart/mixed(text/plain)))")
ten = "Subject: innermost\n\nten deep\n"
ten_structure = "text/plain"
for depth in range(10):
    ten = "Subject: level %d\nContent-Type: message/rfc822\n\n%s" % (10 - depth, ten)
    ten_structure = "message/rfc822(%s)" % ten_structure
odd("message-ten-deep", "a message in a message, ten times", ten_structure, head("message-ten-deep") .replace("Subject", "X-Subject") + ten)
deep = "--=29=\n\ninnermost\n--=29=--\n"
for level in reversed(range(29)):
    deep = "--=%d=\nContent-Type: multipart/mixed; boundary=\"=%d=\"\n\n%s--=%d=--\n" % (level, level + 1, deep, level)
simple("multipart-thirty-deep", "a multipart in a multipart, thirty times", "multipart/mixed; boundary=\"=0=\"", deep,
       "multipart/mixed(" * 30 + "text/plain" + ")" * 30)
deep = "--=49=\n\ninnermost\n--=49=--\n"
for level in reversed(range(49)):
    deep = "--=%d=\nContent-Type: multipart/mixed; boundary=\"=%d=\"\n\n%s--=%d=--\n" % (level, level + 1, deep, level)
simple("multipart-fifty-deep", "deeper than we look: the rest is opaque", "multipart/mixed; boundary=\"=0=\"", deep,
       "multipart/mixed(" * 31 + "application/octet-stream" + ")" * 31)

if __name__ == "__main__":
    names = [name for name, _, _, _ in ALL]
    assert len(set(names)) == len(names) and len(names) >= 60
    for old in os.listdir(HERE):
        if old.endswith(".eml"):
            os.remove(os.path.join(HERE, old))
    for name, _, _, octets in ALL:
        with open(os.path.join(HERE, name + ".eml"), "wb") as out:
            out.write(octets)
    with open(os.path.join(HERE, "structures.txt"), "w", newline="\n") as out:
        out.writelines("%s %s\n" % (name, structure) for name, _, structure, _ in ALL)
    with open(os.path.join(HERE, "README.md"), "w", newline="\n") as out:
        out.write("# Odd messages\n\nExact octets: line ends and all (`.gitattributes` keeps git away from them). Every one is delivered, appended and\n"
                  "fetched byte for byte; `structures.txt` has the structure of each. `make.py` writes all of this.\n\n")
        out.writelines("- `%s.eml`: %s\n" % (name, what) for name, what, _, _ in ALL)
