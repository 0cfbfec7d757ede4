//! Types of a file's parts, each with its reader and its JSON schema from one declaration, so that the three cannot disagree; doc
//! comments become the schema's descriptions.

/// Declares a struct that is read from a mapping with exactly these keys.
macro_rules! mapping {
    (
        $(#[doc = $doc:literal])*
        $what:literal
        pub struct $name:ident {
            $( $(#[doc = $field_doc:literal])* $(#[serde($serde:meta)])? $field:ident : $ty:ty $(= $default:expr)? ),* $(,)?
        }
    ) => {
        $(#[doc = $doc])*
        #[derive(Debug, Clone, PartialEq, serde::Serialize)]
        pub struct $name {
            $( $(#[doc = $field_doc])* $(#[serde($serde)])? pub $field: $ty, )*
        }

        impl $name {
            /// The keys, in the order of the documentation.
            pub const KEYS: &'static [&'static str] = &[$(stringify!($field)),*];
        }

        impl $crate::decode::Decode for $name {
            fn what() -> String {
                $what.into()
            }
            fn decode(
                node: &$crate::node::Node,
                found: &mut $crate::diagnostic::Diagnostics,
            ) -> Option<Self> {
                let mut fields = $crate::decode::Fields::open::<Self>(node, Self::KEYS, found)?;
                $( let $field: Option<$ty> =
                    fields.field(stringify!($field), $crate::declare::mapping!(@default $($default)?), found); )*
                Some(Self { $( $field: $field?, )* })
            }
            fn absent() -> Option<Self> {
                $( let $field: Option<$ty> = $crate::declare::mapping!(@default $($default)?)
                    .or_else(<$ty as $crate::decode::Decode>::absent); )*
                Some(Self { $( $field: $field?, )* })
            }
        }

        impl schemars::JsonSchema for $name {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($name).into()
            }
            fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
                let mut object = $crate::describe::Object::new(&[$($doc),*]);
                $({
                    let default: Option<$ty> = $crate::declare::mapping!(@default $($default)?);
                    let required = default.is_none() && <$ty as $crate::decode::Decode>::absent().is_none();
                    let schema = generator.subschema_for::<$ty>();
                    object.property(stringify!($field), schema, &[$($field_doc),*],
                        default.and_then(|value| serde_json::to_value(value).ok()), required);
                })*
                object.finish()
            }
        }
    };
    (@default) => { None };
    (@default $default:expr) => { Some($default) };
}
pub(crate) use mapping;

/// Declares an enum of fixed words.
macro_rules! keyword {
    (
        $(#[doc = $doc:literal])*
        $what:literal
        pub enum $name:ident {
            $( $(#[doc = $variant_doc:literal])* $variant:ident = $word:literal ),+ $(,)?
        }
    ) => {
        $(#[doc = $doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum $name { $( $(#[doc = $variant_doc])* $variant, )+ }

        impl $name {
            /// All values.
            pub const ALL: &'static [$name] = &[$($name::$variant),+];

            /// The word that stands for it in a file.
            pub const fn as_str(self) -> &'static str {
                match self { $( $name::$variant => $word, )+ }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                self.as_str()
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.as_str())
            }
        }

        impl $crate::decode::Decode for $name {
            fn what() -> String {
                $what.into()
            }
            fn decode(
                node: &$crate::node::Node,
                found: &mut $crate::diagnostic::Diagnostics,
            ) -> Option<Self> {
                $crate::decode::scalar(node, found, |text| match text {
                    $( $word => Ok($name::$variant), )+
                    other => {
                        let words: &[&str] = &[$($word),+];
                        let listed = words.iter().map(|w| format!("`{w}`")).collect::<Vec<_>>().join(", ");
                        let flaw = $crate::decode::Flaw::new(
                            format!("`{}` is not {}", $crate::node::shorten(other), <Self as $crate::decode::Decode>::what()),
                        ).label(format!("expected one of {listed}"));
                        Err(match $crate::diagnostic::similar(other, words) {
                            Some(best) => flaw.did_you_mean(best),
                            None => flaw,
                        })
                    }
                })
            }
        }

        impl schemars::JsonSchema for $name {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($name).into()
            }
            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                $crate::describe::words(&[$($doc),*], &[$( ($word, &[$($variant_doc),*]) ),+])
            }
        }
    };
}
pub(crate) use keyword;

/// Declares a text that obeys a rule; one that exists obeys it. The pattern is for editors, and may be wider than the rule.
macro_rules! text {
    (
        $(#[doc = $doc:literal])*
        $what:literal
        pub struct $name:ident = $check:expr $(, pattern $pattern:expr)?;
    ) => {
        $(#[doc = $doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize)]
        #[serde(transparent)]
        pub struct $name(String);

        impl $name {
            /// The text, if it obeys the rule; else a sentence that says what is wrong.
            ///
            /// # Errors
            /// The text breaks the rule of its kind; in words.
            pub fn new(text: &str) -> Result<Self, String> {
                Self::checked(text).map_err(|flaw| flaw.message)
            }

            fn checked(text: &str) -> Result<Self, $crate::decode::Flaw> {
                let check: fn(&str) -> Result<(), $crate::decode::Flaw> = $check;
                check(text).map(|()| Self(text.to_owned()))
            }

            /// The text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl std::ops::Deref for $name {
            type Target = str;
            fn deref(&self) -> &str {
                &self.0
            }
        }

        impl $crate::decode::Decode for $name {
            fn what() -> String {
                $what.into()
            }
            fn decode(
                node: &$crate::node::Node,
                found: &mut $crate::diagnostic::Diagnostics,
            ) -> Option<Self> {
                $crate::decode::scalar(node, found, Self::checked)
            }
        }

        impl schemars::JsonSchema for $name {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($name).into()
            }
            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                let patterns: &[&str] = &[$($pattern)?];
                $crate::describe::text(&[$($doc),*], patterns.first())
            }
        }
    };
}
pub(crate) use text;
