//! Looks for a text in a stream of text without regard to case, in constant memory (in the spirit of i;unicode-casemap,
//! RFC 5051).

/// Looks for one search key. Start anew for each text with [`Matcher::restart`].
#[derive(Clone, Debug)]
pub struct Matcher {}

#[expect(clippy::todo, unused_variables, reason = "the shape that other rooms are written against")]
impl Matcher {
    /// A matcher for `key`; the empty key is found in every text.
    pub fn new(key: &str) -> Self {
        todo!()
    }

    /// Takes the next piece of the text.
    pub fn feed(&mut self, text: &str) {
        todo!()
    }

    /// Whether it was found in this or any earlier text.
    pub fn found(&self) -> bool {
        todo!()
    }

    /// A new text begins: a match must not span from one to the next. What was found stays found.
    pub fn restart(&mut self) {
        todo!()
    }
}
