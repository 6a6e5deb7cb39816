//! Plots as SVG, drawn by `plotters`: no fonts are read and no picture is made, so the same figures give the same bytes.
//!
//! Ink, grid and bars have colours of their own that the style sheet of the report replaces, light and dark; the colours of
//! series can be told apart on both grounds.

pub(super) use plotters::chart::SeriesLabelPosition;
use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

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
        let mut chart = ChartBuilder::on(area)
            .margin(12)
            .margin_right(20)
            .x_label_area_size(42)
            .y_label_area_size(52)
            .build_cartesian_2d(1f64..last as f64, bottom..1.0f64)?;
        chart
            .configure_mesh()
            .axis_style(INK)
            .bold_line_style(GRID)
            .light_line_style(TRANSPARENT)
            .label_style((FONT, FONT_SIZE).into_font().color(&INK))
            .axis_desc_style((FONT, FONT_SIZE).into_font().color(&INK))
            .x_labels(last.min(20))
            .y_labels(6)
            .x_label_formatter(&|x| format!("{x:.0}"))
            .y_label_formatter(&|y| format!("{y:.1}"))
            .x_desc(x)
            .y_desc(y)
            .draw()?;
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
            chart
                .configure_series_labels()
                .position(SeriesLabelPosition::LowerRight)
                .label_font((FONT, FONT_SIZE).into_font().color(&INK))
                .draw()?;
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
        let mut chart = ChartBuilder::on(area)
            .margin(12)
            .margin_right(20)
            .x_label_area_size(42)
            .y_label_area_size(52)
            .build_cartesian_2d(0f64..labels.len() as f64, 0f64..top * 1.15)?;
        chart
            .configure_mesh()
            .axis_style(INK)
            .bold_line_style(GRID)
            .light_line_style(TRANSPARENT)
            .disable_x_mesh()
            .label_style((FONT, FONT_SIZE).into_font().color(&INK))
            .axis_desc_style((FONT, FONT_SIZE).into_font().color(&INK))
            .x_labels(0)
            .y_labels(5)
            .y_label_formatter(&|y| match is_count {
                // There is no half question.
                true if (y - y.round()).abs() > 1e-6 => String::new(),
                true => format!("{y:.0}"),
                false => format!("{y:.1}"),
            })
            .x_desc(x)
            .y_desc(y)
            .draw()?;
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
            chart
                .configure_series_labels()
                .position(SeriesLabelPosition::UpperRight)
                .label_font((FONT, FONT_SIZE).into_font().color(&INK))
                .draw()?;
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
        let mut chart = ChartBuilder::on(area)
            .margin(12)
            .margin_right(20)
            .x_label_area_size(42)
            .y_label_area_size(60)
            .build_cartesian_2d(left..right, low..high)?;
        chart
            .configure_mesh()
            .axis_style(INK)
            .bold_line_style(GRID)
            .light_line_style(TRANSPARENT)
            .label_style((FONT, FONT_SIZE).into_font().color(&INK))
            .axis_desc_style((FONT, FONT_SIZE).into_font().color(&INK))
            .x_labels(10)
            .y_labels(7)
            .x_label_formatter(&|at| x.scale.label(*at))
            .y_label_formatter(&|at| y.scale.label(*at))
            .x_desc(x.words)
            .y_desc(y.words)
            .draw()?;
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
            chart
                .configure_series_labels()
                .position(legend)
                .label_font((FONT, FONT_SIZE).into_font().color(&INK))
                .draw()?;
        }
        Ok(())
    })
}

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
type Drawn = Result<(), Box<dyn std::error::Error>>;

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
