//! How the shared newtypes look in `openapi.json`.

use std::borrow::Cow;

use utoipa::openapi::schema::{KnownFormat, ObjectBuilder, SchemaFormat, Type};
use utoipa::openapi::{RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

use crate::units::{Day, InfoHash, PricePerGib, Units, UnixMs};

fn number(about: &str, minimum: u64, maximum: Option<u64>) -> RefOr<Schema> {
    let number = ObjectBuilder::new()
        .schema_type(Type::Integer)
        .format(Some(SchemaFormat::KnownFormat(KnownFormat::Int64)))
        .description(Some(about))
        .minimum(Some(minimum))
        .maximum(maximum);
    number.into()
}

macro_rules! schema {
    ($type:ty, $name:literal, $schema:expr) => {
        impl PartialSchema for $type {
            fn schema() -> RefOr<Schema> {
                $schema
            }
        }
        impl ToSchema for $type {
            fn name() -> Cow<'static, str> {
                Cow::Borrowed($name)
            }
        }
    };
}

schema!(
    Units,
    "Units",
    number("An amount in the broker's smallest unit", 0, None)
);
schema!(
    UnixMs,
    "UnixMs",
    number("A moment: milliseconds since 1970, UTC", 0, None)
);
schema!(
    Day,
    "Day",
    number("A date: whole days since 1970-01-01, UTC", 0, None)
);
schema!(
    PricePerGib,
    "PricePerGib",
    number("A price in units per GiB", 16, Some(65_536))
);
schema!(
    InfoHash,
    "InfoHash",
    ObjectBuilder::new()
        .schema_type(Type::String)
        .description(Some("A torrent's info hash: 40 hexadecimal digits"))
        .pattern(Some("^[0-9a-f]{40}$"))
        .into()
);
