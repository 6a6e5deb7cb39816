//! `preprocessor_config.json`: how pictures are resized, cut and normalised before a CLIP tower.
//!
//! Newer folders have the same object inside `processor_config.json`; older ones give sides as bare numbers. What is not said is the default
//! of `transformers`' `CLIPImageProcessor`. Invariant: the recipe that leaves gives exactly the pixels that the tower reads.

use serde::Deserialize;

use crate::picture::resize::Filter;
use crate::vision::preprocess::{Centre, Recipe, Scaled};

/// Most pixels of a side that a picture is resized to.
const MAX_SIDE: u32 = 4096;

/// A side, or several by name.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(untagged)]
enum Size {
    Number(u32),
    Named {
        #[serde(default)]
        shortest_edge: Option<u32>,
        #[serde(default)]
        height: Option<u32>,
        #[serde(default)]
        width: Option<u32>,
    },
}

#[derive(Debug, Deserialize)]
#[serde(default)]
struct Processor {
    image_processor_type: Option<String>,
    do_resize: bool,
    size: Size,
    resample: u32,
    do_center_crop: bool,
    crop_size: Size,
    do_rescale: bool,
    rescale_factor: f32,
    do_normalize: bool,
    image_mean: [f32; 3],
    image_std: [f32; 3],
}

impl Default for Processor {
    fn default() -> Self {
        Processor {
            image_processor_type: None,
            do_resize: true,
            size: Size::Number(224),
            resample: 3,
            do_center_crop: true,
            crop_size: Size::Number(224),
            do_rescale: true,
            rescale_factor: 1.0 / 255.0,
            do_normalize: true,
            image_mean: [0.481_454_66, 0.457_827_5, 0.408_210_73],
            image_std: [0.268_629_54, 0.261_302_6, 0.275_777_1],
        }
    }
}

/// The recipe for a tower that reads pictures of `side` pixels.
pub(super) fn recipe(json: &serde_json::Value, side: usize) -> Result<Recipe, String> {
    let mut fields = json.as_object().cloned().ok_or("it is no object")?;
    fields.retain(|_, value| !value.is_null());
    let processor: Processor = serde_json::from_value(fields.into()).map_err(|error| error.to_string())?;
    processor.recipe(side)
}

impl Processor {
    fn recipe(&self, side: usize) -> Result<Recipe, String> {
        if let Some(kind) = &self.image_processor_type
            && !kind.contains("CLIP")
        {
            return Err(format!("its image processor is \"{kind}\", expected CLIPImageProcessor"));
        }
        let scaled = self.scaled()?;
        let (Scaled::ShortSide(left) | Scaled::Square(left)) = scaled;
        let crop = match self.do_center_crop {
            true => square(self.crop_size).ok_or("its crop_size is no square")?,
            false if scaled == Scaled::Square(left) => left,
            false => return Err("it cuts no centre out of pictures of any shape".to_owned()),
        };
        if crop as usize != side {
            return Err(format!("it makes pictures of {crop} pixels a side, the network reads {side}"));
        }
        if left < crop || left > MAX_SIDE {
            return Err(format!("it resizes to {left} pixels a side, expected {crop} to {MAX_SIDE}"));
        }
        let filter = match self.resample {
            1 => Filter::Lanczos,
            2 => Filter::Bilinear,
            3 => Filter::Bicubic,
            other => {
                return Err(format!(
                    "its resample is {other}, expected 1, 2 or 3 (lanczos, bilinear, bicubic)"
                ));
            }
        };
        let factor = if self.do_rescale { self.rescale_factor } else { 1.0 };
        let (mean, deviation) = match self.do_normalize {
            true => (self.image_mean, self.image_std),
            false => ([0.0; 3], [1.0; 3]),
        };
        if deviation.contains(&0.0) || !deviation.iter().chain(&mean).chain([&factor]).all(|x| x.is_finite())
        {
            return Err(format!(
                "its image_mean {mean:?} and image_std {deviation:?} cannot be computed with"
            ));
        }
        Ok(Recipe { scaled, filter, side, centre: Centre::Down, factor, mean, deviation })
    }

    fn scaled(&self) -> Result<Scaled, String> {
        if !self.do_resize {
            return Err("it does not resize pictures".to_owned());
        }
        match self.size {
            Size::Number(side) | Size::Named { shortest_edge: Some(side), .. } => Ok(Scaled::ShortSide(side)),
            Size::Named { .. } => square(self.size)
                .map(Scaled::Square)
                .ok_or_else(|| format!("its size is {:?}, expected shortest_edge or a square", self.size)),
        }
    }
}

fn square(size: Size) -> Option<u32> {
    match size {
        Size::Number(side) => Some(side),
        Size::Named { height: Some(height), width: Some(width), .. } if height == width => Some(height),
        Size::Named { .. } => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn old_and_new_forms_are_the_same() {
        let old = json!({"size": 224, "crop_size": 224, "resample": 3, "feature_extractor_type": "CLIPFeatureExtractor"});
        let new = json!({"size": {"shortest_edge": 224}, "crop_size": {"height": 224, "width": 224}, "image_std": null,
            "image_processor_type": "CLIPImageProcessorFast"});
        for form in [old, new] {
            let recipe = recipe(&form, 224).expect("a recipe");
            assert_eq!((recipe.scaled, recipe.filter), (Scaled::ShortSide(224), Filter::Bicubic));
            assert_eq!(recipe.mean[0], 0.481_454_66);
        }
    }

    #[test]
    fn a_square_need_not_be_cut() {
        let form = json!({"size": {"height": 64, "width": 64}, "do_center_crop": false, "do_normalize": false, "resample": 2});
        let recipe = recipe(&form, 64).expect("a recipe");
        assert_eq!((recipe.scaled, recipe.deviation), (Scaled::Square(64), [1.0; 3]));
    }

    #[test]
    fn what_the_tower_cannot_read_is_refused() {
        for (form, told) in [
            (json!({"crop_size": 336}), "336 pixels a side"),
            (json!({"size": 200}), "200 pixels a side"),
            (json!({"size": 90_000}), "90000"),
            (json!({"do_resize": false}), "does not resize"),
            (json!({"do_center_crop": false}), "no centre"),
            (json!({"resample": 0}), "resample is 0"),
            (json!({"image_std": [1.0, 0.0, 1.0]}), "image_std"),
            (json!({"size": {"height": 3, "width": 4}}), "square"),
            (json!({"image_processor_type": "ViTImageProcessor"}), "ViTImageProcessor"),
            (json!([]), "no object"),
        ] {
            let error = recipe(&form, 224).err().unwrap_or_default();
            assert!(error.contains(told), "{form}: {error}");
        }
    }
}
