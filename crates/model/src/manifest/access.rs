//! The tree as `serde` sees it. Every refusal says what was found and what is expected;
//! lists and mappings add the position, so that the way to the offending value is known.

use serde::de::{self, DeserializeSeed, Deserializer as _, Visitor};

use super::decode::{Misfit, Problem};
use super::diagnostic::{listed, quote};
use super::yaml::{Entry, Map, Node, Value};

impl Node {
    fn expected<T>(&self, what: &str) -> Result<T, Misfit> {
        Err(Misfit::wrong(match &self.value {
            Value::Scalar { text, .. } if !self.is_nothing() => {
                format!("{} stands where {what} is expected", quote(text))
            }
            Value::Scalar { .. } => format!("{what} is expected"),
            _ => format!("{} stands where {what} is expected", self.kind()),
        }))
    }
    fn plain(&self) -> Option<&str> {
        match &self.value {
            Value::Scalar { text, plain: true } => Some(text),
            _ => None,
        }
    }
}

macro_rules! whole_numbers {
    ($($method:ident $visit:ident $type:ty),*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Misfit> {
            let text = self.text().unwrap_or_default();
            match text.parse::<$type>() {
                Ok(number) if self.plain().is_some() => visitor.$visit(number),
                Ok(_) => self.expected(&format!("the number {text} without quotes")),
                Err(_) => self.expected("a whole number"),
            }
        }
    )*};
}

impl<'de> de::Deserializer<'de> for &'de Node {
    type Error = Misfit;

    whole_numbers! {
        deserialize_u8 visit_u8 u8, deserialize_u16 visit_u16 u16,
        deserialize_u32 visit_u32 u32, deserialize_u64 visit_u64 u64,
        deserialize_i8 visit_i8 i8, deserialize_i16 visit_i16 i16,
        deserialize_i32 visit_i32 i32, deserialize_i64 visit_i64 i64
    }

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Misfit> {
        match &self.value {
            Value::Map(_) => self.deserialize_map(visitor),
            Value::Seq(_) => self.deserialize_seq(visitor),
            Value::Scalar { .. } if self.is_nothing() => visitor.visit_unit(),
            Value::Scalar { text, plain } => match text.as_str() {
                "true" if *plain => visitor.visit_bool(true),
                "false" if *plain => visitor.visit_bool(false),
                text => match text.parse::<i64>() {
                    Ok(number) if *plain => visitor.visit_i64(number),
                    _ => visitor.visit_borrowed_str(text),
                },
            },
        }
    }
    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Misfit> {
        match self.plain() {
            Some("true") => visitor.visit_bool(true),
            Some("false") => visitor.visit_bool(false),
            _ => self.expected("`true` or `false`"),
        }
    }
    fn deserialize_f64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Misfit> {
        let number = self.plain().and_then(|text| text.parse::<f64>().ok());
        match number.filter(|number| number.is_finite()) {
            Some(number) => visitor.visit_f64(number),
            None => self.expected("a number"),
        }
    }
    fn deserialize_f32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Misfit> {
        self.deserialize_f64(visitor)
    }
    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Misfit> {
        match &self.value {
            Value::Scalar { text, .. } if !self.is_nothing() => visitor.visit_borrowed_str(text),
            _ => self.expected("text"),
        }
    }
    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Misfit> {
        self.deserialize_str(visitor)
    }
    fn deserialize_char<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Misfit> {
        self.deserialize_str(visitor)
    }
    fn deserialize_identifier<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Misfit> {
        self.deserialize_str(visitor)
    }
    /// A field that is there is set: `all_at_once:` with nothing behind it chooses that
    /// strategy rather than leaving it out in silence.
    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Misfit> {
        visitor.visit_some(self)
    }
    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Misfit> {
        if self.is_nothing() {
            visitor.visit_unit()
        } else {
            self.expected("nothing")
        }
    }
    fn deserialize_unit_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Misfit> {
        self.deserialize_unit(visitor)
    }
    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Misfit> {
        visitor.visit_newtype_struct(self)
    }
    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Misfit> {
        match &self.value {
            Value::Seq(items) => visitor.visit_seq(Walk::over(items)),
            _ if self.is_nothing() => visitor.visit_seq(Walk::over(&[])),
            _ => self.expected("a list"),
        }
    }
    fn deserialize_tuple<V: Visitor<'de>>(
        self,
        _len: usize,
        visitor: V,
    ) -> Result<V::Value, Misfit> {
        self.deserialize_seq(visitor)
    }
    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _len: usize,
        visitor: V,
    ) -> Result<V::Value, Misfit> {
        self.deserialize_seq(visitor)
    }
    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Misfit> {
        match &self.value {
            Value::Map(map) => visitor.visit_map(Walk::over(&map.entries)),
            _ if self.is_nothing() => visitor.visit_map(Walk::over(&[])),
            _ => self.expected("a mapping (`name: value`)"),
        }
    }
    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Misfit> {
        self.deserialize_map(visitor)
    }
    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Misfit> {
        match &self.value {
            Value::Map(Map { entries, .. }) if entries.len() == 1 => visitor.visit_enum(self),
            Value::Scalar { .. } if !self.is_nothing() => visitor.visit_enum(self),
            Value::Map(_) => Err(Misfit::new(Problem::NotOne(variants))),
            _ => self.expected(&listed(variants, "or")),
        }
    }
    fn deserialize_bytes<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Misfit> {
        self.deserialize_str(visitor)
    }
    fn deserialize_byte_buf<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Misfit> {
        self.deserialize_str(visitor)
    }
    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Misfit> {
        visitor.visit_unit()
    }
}

/// Goes through a list or a mapping and marks what went wrong with its position.
struct Walk<'de, T> {
    items: &'de [T],
    next: usize,
}

impl<'de, T> Walk<'de, T> {
    fn over(items: &'de [T]) -> Self {
        Self { items, next: 0 }
    }
}

impl<'de> de::SeqAccess<'de> for Walk<'de, Node> {
    type Error = Misfit;
    fn next_element_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, Misfit> {
        let Some(item) = self.items.get(self.next) else {
            return Ok(None);
        };
        self.next += 1;
        seed.deserialize(item)
            .map(Some)
            .map_err(|error| error.under(self.next - 1))
    }
}

impl<'de> de::MapAccess<'de> for Walk<'de, Entry> {
    type Error = Misfit;
    fn next_key_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, Misfit> {
        let Some(entry) = self.items.get(self.next) else {
            return Ok(None);
        };
        seed.deserialize(de::value::BorrowedStrDeserializer::new(&entry.key))
            .map(Some)
            .map_err(|error: Misfit| error.under(self.next))
    }
    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, Misfit> {
        let position = self.next;
        self.next += 1;
        match self.items.get(position) {
            Some(entry) => seed
                .deserialize(&entry.value)
                .map_err(|error| error.under(position)),
            None => Err(Misfit::wrong("a value is expected")),
        }
    }
}

impl<'de> de::EnumAccess<'de> for &'de Node {
    type Error = Misfit;
    type Variant = &'de Node;
    fn variant_seed<S: DeserializeSeed<'de>>(
        self,
        seed: S,
    ) -> Result<(S::Value, &'de Node), Misfit> {
        let read = |text: &'de str| {
            seed.deserialize(de::value::BorrowedStrDeserializer::<Misfit>::new(text))
        };
        match &self.value {
            Value::Scalar { text, .. } => Ok((read(text)?, self)),
            Value::Map(map) => match map.entries.first() {
                Some(entry) => Ok((read(&entry.key).map_err(|error| error.under(0))?, self)),
                None => self.expected("one field"),
            },
            Value::Seq(_) => self.expected("one field"),
        }
    }
}

impl<'de> de::VariantAccess<'de> for &'de Node {
    type Error = Misfit;
    fn unit_variant(self) -> Result<(), Misfit> {
        match &self.value {
            Value::Scalar { .. } => Ok(()),
            _ => self.expected("a single word"),
        }
    }
    fn newtype_variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<S::Value, Misfit> {
        match &self.value {
            Value::Map(Map { entries, .. }) if entries.len() == 1 => seed
                .deserialize(&entries[0].value)
                .map_err(|error| error.under(0)),
            _ => seed.deserialize(Bare(self)),
        }
    }
    fn tuple_variant<V: Visitor<'de>>(self, _len: usize, _visitor: V) -> Result<V::Value, Misfit> {
        self.expected("a mapping (`name: value`)")
    }
    fn struct_variant<V: Visitor<'de>>(
        self,
        _fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Misfit> {
        match &self.value {
            Value::Map(Map { entries, .. }) if entries.len() == 1 => (&entries[0].value)
                .deserialize_map(visitor)
                .map_err(|error| error.under(0)),
            _ => self.expected("a mapping (`name: value`)"),
        }
    }
}

/// A choice that is named with nothing behind it, such as `scan` for `scan: {}`: the fields have
/// their defaults, where they have any.
struct Bare<'de>(&'de Node);

impl<'de> de::Deserializer<'de> for Bare<'de> {
    type Error = Misfit;

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Misfit> {
        visitor.visit_map(Walk::<Entry>::over(&[]))
    }
    fn deserialize_any<V: Visitor<'de>>(self, _visitor: V) -> Result<V::Value, Misfit> {
        self.0.expected("a mapping (`name: value`)")
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 u8 u16 u32 u64 f32 f64 char str string bytes byte_buf option unit
        unit_struct newtype_struct seq tuple tuple_struct map enum identifier ignored_any
    }
}
