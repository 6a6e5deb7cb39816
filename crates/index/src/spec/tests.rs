//! Specs that round-trip, specs of FAISS, and what is said of wrong ones.

use super::*;
use crate::rows::MAX_DIM;
use proptest::prelude::*;

fn any_codec() -> impl Strategy<Value = Codec> {
    prop_oneof![
        Just(Codec::Flat),
        prop::sample::select(&ScalarBits::ALL[..]).prop_map(Codec::Sq),
        (1..=MAX_DIM, PQ_BITS_RANGE).prop_map(|(m, bits)| Codec::Pq { m, bits }),
        (1..=MAX_DIM, any::<bool>()).prop_map(|(m, by_residual)| Codec::PqFastScan { m, by_residual }),
        RABITQ_BITS_RANGE.prop_map(|bits| Codec::RaBitQ { bits }),
    ]
}

fn any_transform() -> impl Strategy<Value = Transform> {
    prop_oneof![
        Just(Transform::L2Norm),
        (1..=MAX_DIM, any::<bool>()).prop_map(|(dim, rotate)| Transform::Pca { dim, rotate }),
        (1..=MAX_DIM).prop_map(|dim| Transform::RandomRotation { dim }),
        (1..=MAX_DIM, prop::option::of(1..=MAX_DIM)).prop_map(|(m, dim)| Transform::Opq { m, dim }),
    ]
}

fn any_spec() -> impl Strategy<Value = IndexSpec> {
    let structure = prop_oneof![
        Just(Structure::Scan),
        (1..=MAX_NLIST).prop_map(|nlist| Structure::Ivf { nlist }),
        HNSW_M_RANGE.prop_map(|m| Structure::Hnsw { m }),
    ];
    let transforms = prop::collection::vec(any_transform(), 0..4);
    let whole = (any::<bool>(), transforms, structure, any_codec(), any::<bool>());
    let fixed = whole.prop_map(|(id_map, transforms, structure, codec, refine)| IndexSpec {
        id_map,
        transforms,
        structure,
        codec,
        refine,
    });
    prop_oneof![1 => Just(IndexSpec::AUTO), 20 => fixed]
}

proptest! {
    #[test]
    fn display_and_parse_round_trip(spec in any_spec()) {
        prop_assert_eq!(spec.to_string().parse::<IndexSpec>(), Ok(spec));
    }

    #[test]
    fn any_string_parses_or_points_into_itself(text in "[A-Za-z0-9,_一 ]{0,24}") {
        if let Err(error) = text.parse::<IndexSpec>() {
            prop_assert!(error.position <= text.len());
            prop_assert!(text[error.position..].starts_with(&error.received));
        }
    }
}

#[test]
fn accepts_the_words_of_faiss() {
    let scan = |codec| IndexSpec::of(Structure::Scan, codec);
    for (text, spec) in [
        ("HNSW32,Flat", IndexSpec::hnsw(32)),
        ("AUTO", IndexSpec::AUTO),
        ("IVF447,Flat", IndexSpec::ivf(447, Codec::Flat)),
        ("SQ8", scan(Codec::Sq(ScalarBits::Eight))),
        ("SQfp16", scan(Codec::Sq(ScalarBits::Fp16))),
        ("PQ16", scan(Codec::Pq { m: 16, bits: 8 })),
        ("IVF64,PQ16x8", IndexSpec::ivf(64, Codec::Pq { m: 16, bits: 8 })),
        ("IVF64,RaBitQfs", IndexSpec::ivf(64, Codec::RaBitQ { bits: 1 })),
        ("IDMap2,Flat", IndexSpec { id_map: true, ..IndexSpec::FLAT }),
        ("HNSW16,RFlat", IndexSpec { refine: true, ..IndexSpec::hnsw(16) }),
        (
            "OPQ16_64,IVF100,PQ16x4fsr,RFlat",
            IndexSpec {
                transforms: vec![Transform::Opq { m: 16, dim: Some(64) }],
                refine: true,
                ..IndexSpec::ivf(100, Codec::PqFastScan { m: 16, by_residual: true })
            },
        ),
    ] {
        assert_eq!(text.parse(), Ok(spec), "{text}");
    }
}

#[test]
fn errors_point_at_the_word_and_name_the_nearest() {
    for (text, position, nearest) in [
        ("flat", 0, "Flat"),
        ("HSNW32", 0, "HNSW32"),
        ("IVF", 0, "IVF256"),
        ("IVF0,Flat", 0, "IVF1"),
        ("IVF99999999999999999999,Flat", 0, "IVF1048576"),
        ("HNSW1", 0, "HNSW2"),
        ("IVF100", 6, "IVF100,Flat"),
        ("IVF100,PQ8x99", 7, "PQ8x12"),
        ("IVF100,PG8", 7, "PQ8"),
        ("IVF100,SQ5", 7, "SQ8"),
        ("IVF100,HNSW32", 7, "SQ8"),
        ("IVF100,RaBitq", 7, "RaBitQ"),
        ("PCA,Flat", 0, "PCA64"),
        ("OPQ16_x,PQ16", 0, "OPQ16_64"),
        ("L2Norm,Flat", 0, "L2norm"),
        ("IVF100,Flat,RFlat,RFlat", 18, "IVF100,Flat,RFlat"),
        ("Flat,Flat", 5, "Flat"),
    ] {
        let error = text.parse::<IndexSpec>().unwrap_err();
        assert_eq!((error.position, error.nearest.as_str()), (position, nearest), "{text}: {error}");
    }
}

#[test]
fn words_that_change_nothing_are_left_out_of_the_canonical_form() {
    for (text, canonical) in [
        ("IDMap,Flat", "Flat"),
        ("HNSW16,RFlat", "HNSW16"),
        ("IDMap2,IVF8,SQ8,RFlat", "IVF8,SQ8,RFlat"),
        ("PCA8,Flat,RFlat", "PCA8,Flat,RFlat"),
    ] {
        assert_eq!(text.parse::<IndexSpec>().unwrap().canonical().to_string(), canonical);
    }
}

#[test]
fn auto_goes_by_the_number_of_rows() {
    assert_eq!(IndexSpec::AUTO.resolve(9_999, 64), IndexSpec::FLAT);
    assert_eq!(IndexSpec::AUTO.resolve(10_000, 64), IndexSpec::hnsw(16));
    assert_eq!(IndexSpec::AUTO.resolve(4_000_000, 64), IndexSpec::ivf(2000, Codec::Flat));
    assert_eq!(IndexSpec::FLAT.resolve(1 << 30, 64), IndexSpec::FLAT);
}
