//! Plots as SVG, drawn by `plotters`: no fonts are read and no picture is made, so the same figures give the same bytes.
//!
//! Ink, grid and bars have colours of their own that the style sheet of the report replaces, light and dark; the colours of
//! series can be told apart on both grounds.

pub(super) use plotters::chart::SeriesLabelPosition;
use plotters::coord::Shift;
use plotters::coord::types::RangedCoordf64;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};
use std::ops::Range;

const SIZE: (u32, u32) = (680, 320);
/// Replaced by the style sheet.
const INK: RGBColor = RGBColor(0x11, 0x22, 0x33);
/// Replaced by the style sheet.
const GRID: RGBColor = RGBColor(0xdd, 0xcc, 0xbb);
/// Series in turn (the qualitative palette of Okabe and Ito 2008, told apart by the colour-blind), without its yellow.
const SERIES: [RGBColor; 6] = [
    RGBColor(0x00, 0x72, 0xb2),
    RGBColor(0xd5, 0x5e, 0x00),
    RGBColor(0x00, 0x9e, 0x73),
    RGBColor(0xcc, 0x79, 0xa7),
    RGBColor(0x56, 0xb4, 0xe9),
    RGBColor(0xe6, 0x9f, 0x00),
];
const FONT: &str = "sans-serif";
const FONT_SIZE: i32 = 13;
/// Rows of a legend.
const MAX_SERIES: usize = 12;

/// One line: its name and its values at 1, 2, 3...
pub(super) struct Line {
    pub(super) name: String,
    pub(super) values: Vec<f64>,
}

/// Shares between 0 and 1 over `1..=n`.
pub(super) fn lines(lines: &[Line], x: &str, y: &str) -> Result<String, String> {
    let lines = &lines[..lines.len().min(MAX_SERIES)];
    let last = lines.iter().map(|line| line.values.len()).max().unwrap_or(1).max(2);
    let lowest = lines.iter().filter_map(|line| line.values.first()).copied().fold(1.0f64, f64::min);
    let bottom = ((lowest - 0.05).max(0.0) * 10.0).floor() / 10.0;
    drawn(|area| {
        let mut chart = chart(area, 52, 1f64..last as f64, bottom..1.0f64)?;
        let (whole, tenths) = (|x: &f64| format!("{x:.0}"), |y: &f64| format!("{y:.1}"));
        mesh(&mut chart, &Mesh { words: (x, y), ticks: (last.min(20), 6), labels: (&whole, &tenths) })?;
        for (at, line) in lines.iter().enumerate() {
            let colour = SERIES[at % SERIES.len()];
            let points = || (1..).map(f64::from).zip(line.values.iter().copied());
            let series = chart.draw_series(LineSeries::new(points(), colour.stroke_width(2)))?;
            if lines.len() > 1 {
                series
                    .label(&line.name)
                    .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], colour.stroke_width(3)));
            }
            chart.draw_series(points().map(|point| Circle::new(point, 3, colour.filled())))?;
        }
        if lines.len() > 1 {
            names(&mut chart, SeriesLabelPosition::LowerRight)?;
        }
        Ok(())
    })
}

/// One group of bars for each label, one bar in it for each series.
pub(super) fn bars(labels: &[String], series: &[Line], x: &str, y: &str) -> Result<String, String> {
    let series = &series[..series.len().min(MAX_SERIES)];
    let values = || series.iter().flat_map(|series| series.values.iter().copied());
    let top = values().fold(0.0f64, f64::max).max(1e-9);
    let is_count = values().all(|value| value.fract() == 0.0);
    let width = 0.8 / series.len().max(1) as f64;
    drawn(|area| {
        let mut chart = chart(area, 52, 0f64..labels.len() as f64, 0f64..top * 1.15)?;
        let label = |y: &f64| match is_count {
            // There is no half question.
            true if (y - y.round()).abs() > 1e-6 => String::new(),
            true => format!("{y:.0}"),
            false => format!("{y:.1}"),
        };
        mesh(&mut chart, &Mesh { words: (x, y), ticks: (0, 5), labels: (&label, &label) })?;
        let centred = (FONT, FONT_SIZE).into_font().color(&INK).pos(Pos::new(HPos::Center, VPos::Top));
        let above = (FONT, FONT_SIZE).into_font().color(&INK).pos(Pos::new(HPos::Center, VPos::Bottom));
        for (at, label) in labels.iter().enumerate() {
            let (x, y) = chart.backend_coord(&(at as f64 + 0.5, 0.0));
            area.draw(&Text::new(label.clone(), (x, y + 6), centred.clone()))?;
        }
        for (which, Line { name, values }) in series.iter().enumerate() {
            let colour = SERIES[which % SERIES.len()];
            let left = |at: usize| at as f64 + 0.1 + width * which as f64;
            let bars = values.iter().enumerate().map(|(at, value)| {
                Rectangle::new([(left(at), 0.0), (left(at) + width * 0.92, *value)], colour.filled())
            });
            let drawn = chart.draw_series(bars)?;
            if series.len() > 1 {
                drawn
                    .label(name)
                    .legend(move |(x, y)| Rectangle::new([(x, y - 5), (x + 14, y + 5)], colour.filled()));
            }
            if series.len() == 1 {
                for (at, value) in values.iter().enumerate().filter(|(_, value)| **value > 0.0) {
                    let (x, y) = chart.backend_coord(&(left(at) + width / 2.0, *value));
                    let told = if is_count { format!("{value:.0}") } else { format!("{value:.2}") };
                    area.draw(&Text::new(told, (x, y - 3), above.clone()))?;
                }
            }
        }
        if series.len() > 1 {
            names(&mut chart, SeriesLabelPosition::UpperRight)?;
        }
        Ok(())
    })
}

/// How values lie on an axis.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Scale {
    /// Evenly.
    Linear,
    /// By powers of two.
    Binary,
    /// By powers of ten.
    Decimal,
}

impl Scale {
    fn to(self, value: f64) -> f64 {
        match self {
            Scale::Linear => value,
            Scale::Binary => value.max(f64::MIN_POSITIVE).log2(),
            Scale::Decimal => value.max(f64::MIN_POSITIVE).log10(),
        }
    }

    fn label(self, at: f64) -> String {
        match self {
            Scale::Linear => format!("{at:.2}"),
            // Between two powers there is no setting that anybody tries.
            Scale::Binary if (at - at.round()).abs() > 1e-6 => String::new(),
            Scale::Binary => format!("{:.0}", at.exp2()),
            Scale::Decimal => match 10f64.powf(at) {
                value if value >= 9_950.0 => format!("{:.0}k", value / 1e3),
                value if value >= 995.0 => format!("{:.1}k", value / 1e3),
                value if value >= 9.95 => format!("{value:.0}"),
                value if value >= 0.095 => format!("{value:.2}"),
                value => format!("{value:.3}"),
            },
        }
    }
}

/// An axis: its words, its scale, and a value that a line is drawn at.
pub(super) struct Axis<'a> {
    pub(super) words: &'a str,
    pub(super) scale: Scale,
    pub(super) line: Option<f64>,
}

/// A measured point.
#[derive(Clone, Copy, Debug)]
pub(super) struct Spot {
    pub(super) x: f64,
    pub(super) y: f64,
    /// Filled; others are rings.
    pub(super) filled: bool,
    /// With a ring around it.
    pub(super) ringed: bool,
}

/// Points that belong together, in their order.
pub(super) struct Curve {
    pub(super) name: String,
    pub(super) spots: Vec<Spot>,
}

fn bounds(values: impl Iterator<Item = f64>, axis: &Axis<'_>) -> (f64, f64) {
    let (low, high) = values
        .chain(axis.line)
        .map(|value| axis.scale.to(value))
        .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| (low.min(value), high.max(value)));
    if !low.is_finite() || !high.is_finite() {
        return (0.0, 1.0);
    }
    let room = ((high - low) * 0.06).max(if axis.scale == Scale::Linear { 0.01 } else { 0.1 });
    (low - room, high + room)
}

/// Curves over two axes.
pub(super) fn curves(
    curves: &[Curve],
    x: &Axis<'_>,
    y: &Axis<'_>,
    legend: SeriesLabelPosition,
) -> Result<String, String> {
    let curves = &curves[..curves.len().min(MAX_SERIES)];
    let spots = || curves.iter().flat_map(|curve| &curve.spots);
    let (left, right) = bounds(spots().map(|spot| spot.x), x);
    let (low, high) = bounds(spots().map(|spot| spot.y), y);
    drawn(|area| {
        let mut chart = chart(area, 60, left..right, low..high)?;
        let (of_x, of_y) = (|at: &f64| x.scale.label(*at), |at: &f64| y.scale.label(*at));
        mesh(&mut chart, &Mesh { words: (x.words, y.words), ticks: (10, 7), labels: (&of_x, &of_y) })?;
        let mut line = |points: [(f64, f64); 2]| {
            chart.draw_series([PathElement::new(points, INK.stroke_width(1))]).map(drop)
        };
        if let Some(at) = x.line.map(|at| x.scale.to(at)) {
            line([(at, low), (at, high)])?;
        }
        if let Some(at) = y.line.map(|at| y.scale.to(at)) {
            line([(left, at), (right, at)])?;
        }
        for (at, curve) in curves.iter().enumerate() {
            let colour = SERIES[at % SERIES.len()];
            let placed: Vec<((f64, f64), Spot)> =
                curve.spots.iter().map(|spot| ((x.scale.to(spot.x), y.scale.to(spot.y)), *spot)).collect();
            let points = placed.iter().map(|(point, _)| *point);
            let series = chart.draw_series(LineSeries::new(points, colour.stroke_width(2)))?;
            series
                .label(&curve.name)
                .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], colour.stroke_width(3)));
            for (point, spot) in placed {
                let style = if spot.filled { colour.filled() } else { colour.stroke_width(1) };
                chart.draw_series([Circle::new(point, 3, style)])?;
                if spot.ringed {
                    chart.draw_series([Circle::new(point, 8, INK.stroke_width(2))])?;
                }
            }
        }
        if curves.len() > 1 {
            names(&mut chart, legend)?;
        }
        Ok(())
    })
}

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
type Chart<'a, 'b> = ChartContext<'a, SVGBackend<'b>, Cartesian2d<RangedCoordf64, RangedCoordf64>>;
type Drawn<T = ()> = Result<T, Box<dyn std::error::Error>>;

/// Two axes with room for their labels, `left` pixels beside the upright one.
fn chart<'a, 'b>(area: &'a Area<'b>, left: u32, x: Range<f64>, y: Range<f64>) -> Drawn<Chart<'a, 'b>> {
    let mut builder = ChartBuilder::on(area);
    builder.margin(12).margin_right(20).x_label_area_size(42).y_label_area_size(left);
    Ok(builder.build_cartesian_2d(x, y)?)
}

/// How a value is written at an axis.
type Label<'a> = &'a dyn Fn(&f64) -> String;

/// What stands along the axes, x before y.
struct Mesh<'a> {
    words: (&'a str, &'a str),
    /// Labels at most; without any there are no lines across either.
    ticks: (usize, usize),
    labels: (Label<'a>, Label<'a>),
}

fn mesh(chart: &mut Chart<'_, '_>, Mesh { words, ticks, labels }: &Mesh<'_>) -> Drawn {
    let ink = || (FONT, FONT_SIZE).into_font().color(&INK);
    let mut mesh = chart.configure_mesh();
    if ticks.0 == 0 {
        mesh.disable_x_mesh();
    }
    mesh.axis_style(INK)
        .bold_line_style(GRID)
        .light_line_style(TRANSPARENT)
        .label_style(ink())
        .axis_desc_style(ink())
        .x_labels(ticks.0)
        .y_labels(ticks.1)
        .x_label_formatter(labels.0)
        .y_label_formatter(labels.1)
        .x_desc(words.0)
        .y_desc(words.1)
        .draw()?;
    Ok(())
}

/// The names of the series.
fn names<'a, 'b: 'a>(chart: &mut Chart<'a, 'b>, position: SeriesLabelPosition) -> Drawn {
    let ink = (FONT, FONT_SIZE).into_font().color(&INK);
    chart.configure_series_labels().position(position).label_font(ink).draw()?;
    Ok(())
}

fn drawn(draw: impl FnOnce(&Area<'_>) -> Drawn) -> Result<String, String> {
    let mut svg = String::new();
    {
        let area = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
        draw(&area)
            .and_then(|()| Ok(area.present()?))
            .map_err(|error| format!("cannot draw a plot: {error}"))?;
    }
    Ok(svg)
}
