//! Ordinary mail, always the same: what the figures are measured with.
//!
//! | kind     | arriving mix | standing mailbox | what is in it                                     |
//! |----------|--------------|------------------|---------------------------------------------------|
//! | small    | 62 %, 2 KB   | 80 %, 3 KB       | trace and DKIM headers, a plain text              |
//! | medium   | 28 %, 20 KB  | 17 %, 15 KB      | the same, text and HTML                           |
//! | large    | 9.5 %, 200 KB| 3 %, 120 KB      | a text and an attachment in base64 (random inside) |
//! | huge     | 0.5 %, 10 MB |                  | the same                                          |

use super::noise;

const WORDS: [&str; 60] = [
    "the",
    "of",
    "and",
    "to",
    "in",
    "is",
    "that",
    "for",
    "it",
    "was",
    "on",
    "with",
    "as",
    "be",
    "at",
    "by",
    "this",
    "have",
    "from",
    "or",
    "had",
    "not",
    "but",
    "what",
    "all",
    "were",
    "when",
    "we",
    "there",
    "can",
    "an",
    "your",
    "which",
    "their",
    "said",
    "if",
    "will",
    "each",
    "about",
    "how",
    "meeting",
    "invoice",
    "report",
    "please",
    "thanks",
    "regards",
    "tomorrow",
    "project",
    "budget",
    "server",
    "customer",
    "delivery",
    "answer",
    "question",
    "schedule",
    "attached",
    "document",
    "version",
    "release",
    "Wednesday",
];

/// The size of the n-th arriving message.
pub(crate) fn arriving_bytes(n: u64) -> usize {
    match n * 79 % 200 {
        0..124 => 2_000,
        124..180 => 20_000,
        180..199 => 200_000,
        _ => 10_000_000,
    }
}

/// The size of the n-th message of a standing mailbox.
pub(crate) fn standing_bytes(n: u64) -> usize {
    match n * 7_919 % 100 {
        0..80 => 3_000,
        80..97 => 15_000,
        _ => 120_000,
    }
}

/// The n-th message, of about so many octets.
pub(crate) fn mail(n: u64, bytes: usize) -> Vec<u8> {
    let mut dice = noise(n, 4_000).into_iter().cycle();
    let mut number = |sides: u32| {
        let roll = dice.by_ref().take(4).fold(0u32, |sum, byte| sum << 8 | u32::from(byte));
        roll % sides
    };
    let mut mail = format!("Return-Path: <bounce-{n}@list{}.example>\r\n", n % 7);
    for hop in 0..3 {
        let (id, id2, host) = (number(1 << 30), number(1 << 30), number(250));
        mail += &format!(
            "Received: from relay{hop}.example (relay{hop}.example [192.0.2.{host}])\r\n\tby mx{hop}.example with ESMTPS id \
             {id:x}{id2:x}\r\n\t(version=TLSv1.3 cipher=TLS_AES_256_GCM_SHA384 bits=256/256);\r\n\tMon, {} Jan 2025 10:{:02}:0{hop} \
             +0000\r\n",
            1 + n % 27,
            n % 60,
        );
    }
    let signature = base64(&noise(n + 1, 192), usize::MAX);
    mail += &format!(
        "DKIM-Signature: v=1; a=rsa-sha256; c=relaxed/relaxed; d=example.org; s=s1;\r\n\th=from:to:subject:date:message-id;\r\n\tb={signature}\r\n"
    );
    let mut words = |count: u32| (0..count).map(|_| WORDS[number(60) as usize]).collect::<Vec<_>>().join(" ");
    mail += &format!("From: \"{}\" <sender{}@example.org>\r\nTo: user1@example.org\r\n", words(2), n % 211);
    mail += &format!("Subject: {}\r\nDate: Mon, {} Jan 2025 10:{:02}:00 +0000\r\n", words(5), 1 + n % 27, n % 60);
    mail +=
        &format!("Message-ID: <{:x}.{n}@example.org>\r\nMIME-Version: 1.0\r\n", n.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    let mut text = |bytes: usize| {
        let mut text = String::new();
        while text.len() < bytes {
            text += &words(12);
            text += "\r\n";
        }
        text
    };
    let left = bytes.saturating_sub(mail.len() + 100).max(300);
    match bytes {
        0..5_000 => mail += &format!("Content-Type: text/plain; charset=utf-8\r\n\r\n{}", text(left)),
        5_000..40_000 => {
            let (plain, html) = (text(left / 4), text(left * 3 / 4));
            mail += &format!(
                "Content-Type: multipart/alternative; boundary=\"=_b{n}\"\r\n\r\n--=_b{n}\r\nContent-Type: text/plain; \
                 charset=utf-8\r\n\r\n{plain}\r\n--=_b{n}\r\nContent-Type: text/html; charset=utf-8\r\nContent-Transfer-Encoding: \
                 8bit\r\n\r\n<html><body><p>{html}</p></body></html>\r\n--=_b{n}--\r\n"
            );
        }
        _ => {
            let attachment = base64(&noise(n + 2, (bytes - 3_000) * 57 / 78), 76);
            mail += &format!(
                "Content-Type: multipart/mixed; boundary=\"=_b{n}\"\r\n\r\n--=_b{n}\r\nContent-Type: text/plain; \
                 charset=utf-8\r\n\r\n{}\r\n--=_b{n}\r\nContent-Type: application/pdf; name=\"f{n}.pdf\"\r\nContent-Disposition: \
                 attachment; filename=\"f{n}.pdf\"\r\nContent-Transfer-Encoding: base64\r\n\r\n{attachment}\r\n--=_b{n}--\r\n",
                text(1_500)
            );
        }
    }
    mail.into_bytes()
}

/// RFC 2045 6.8, in lines of so many characters.
pub(crate) fn base64(octets: &[u8], line: usize) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(octets.len() * 78 / 57 + 4);
    let mut column = 0;
    for group in octets.chunks(3) {
        let bits = group.iter().fold(0u32, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - group.len()));
        for place in 0..4 {
            let six = (bits >> (18 - 6 * place)) as usize & 63;
            text.push(if place <= group.len() { char::from(ALPHABET[six]) } else { '=' });
        }
        column += 4;
        if column >= line {
            text += "\r\n";
            column = 0;
        }
    }
    text
}
