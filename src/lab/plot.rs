//! Infected hosts over time, with and without Firedoor, as an SVG picture.

use std::path::Path;

use plotters::prelude::*;

use crate::lab::epidemic::Infection;
use crate::lab::report::Spread;

/// Draws an epidemic's two courses into a file.
pub fn draw(spread: &Spread, path: &Path) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let area = SVGBackend::new(path, (960, 540)).into_drawing_area();
    area.fill(&WHITE)?;
    let most = spread.protected.vulnerable;
    let mut chart = ChartBuilder::on(&area)
        .caption("Infected hosts, WannaCry's pace, no exploit", ("sans-serif", 22))
        .margin(16)
        .x_label_area_size(44)
        .y_label_area_size(56)
        .build_cartesian_2d(0.0..spread.seconds, 0..most)?;
    chart
        .configure_mesh()
        .x_desc("seconds since the first host's infection")
        .y_desc(format!("infected, of {most} vulnerable hosts"))
        .draw()?;
    let stats = [
        ("without Firedoor", RED, spread.baseline.as_ref()),
        ("with Firedoor", RGBColor(0, 110, 60), Some(&spread.protected)),
    ];
    for (label, colour, stats) in stats {
        let Some(stats) = stats else { continue };
        let line = LineSeries::new(steps(&stats.infections, spread.seconds), colour.stroke_width(3));
        chart
            .draw_series(line)?
            .label(label)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 20, y)], colour.stroke_width(3)));
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperLeft)
        .background_style(WHITE.mix(0.8))
        .border_style(BLACK)
        .draw()?;
    area.present()?;
    Ok(())
}

/// A staircase: the count stays as it is until the next infection.
fn steps(infections: &[Infection], seconds: f64) -> Vec<(f64, usize)> {
    let mut points = Vec::with_capacity(infections.len() * 2 + 1);
    for (before, infection) in infections.iter().enumerate() {
        points.push((infection.after, before));
        points.push((infection.after, before + 1));
    }
    points.push((seconds, infections.len()));
    points
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lab::epidemic::EpidemicStats;

    #[test]
    fn the_picture_names_both_courses() {
        let infection = |after| Infection { after, host: "10.66.0.66".parse().unwrap() };
        let stats = |infections| EpidemicStats { vulnerable: 305, infections, contained: 1 };
        let spread = Spread::new(
            (30.0, 1),
            stats(vec![infection(0.0)]),
            Some(stats(vec![infection(0.0), infection(6.1), infection(6.4)])),
        );
        let file = tempfile::NamedTempFile::new().unwrap();
        draw(&spread, file.path()).unwrap();
        let text = std::fs::read_to_string(file.path()).unwrap();
        assert!(text.contains("without Firedoor") && text.contains("with Firedoor"), "{text}");
    }

    #[test]
    fn the_count_rises_in_steps() {
        let infection = |after| Infection { after, host: "10.66.0.66".parse().unwrap() };
        assert_eq!(steps(&[infection(0.0), infection(6.0)], 9.0), [(0.0, 0), (0.0, 1), (6.0, 1), (6.0, 2), (9.0, 2)]);
    }
}
