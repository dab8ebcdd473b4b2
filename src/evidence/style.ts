/** The page's style: light and dark as the reader's system is, and light on paper. No fonts or images from anywhere. */
export const STYLE = `
:root{color-scheme:light dark;--page:#f6f7f9;--card:#fff;--ink:#16202c;--soft:#5b6775;--line:#dde2e8;--band:#eef2f6;
--good:#13733b;--good-back:#e3f5e9;--bad:#b3261e;--bad-back:#fdeae8;--busy:#1f5fbf;--busy-back:#e6effc;--warn:#8a5a00;--warn-back:#fff3d6;
--stable:#2f6fb3;--candidate:#cf5a13;--all:#6a4fb3;--shadow:#0b7a6b;--added:#e3f5e9;--removed:#fdeae8}
@media screen and (prefers-color-scheme:dark){:root{--page:#11161c;--card:#1a212a;--ink:#e6ebf1;--soft:#9aa7b5;--line:#323d49;--band:#222b36;
--good:#5fd08a;--good-back:#12301f;--bad:#ff8a80;--bad-back:#3b1a18;--busy:#86b4ff;--busy-back:#172a47;--warn:#f0c05a;--warn-back:#3a2c0c;
--stable:#6fb1f5;--candidate:#ff9a57;--all:#b39df5;--shadow:#4fd1bd;--added:#12301f;--removed:#3b1a18}}
*{box-sizing:border-box}
body{margin:0;background:var(--page);color:var(--ink);font:15px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue",Arial,sans-serif}
main{max-width:980px;margin:0 auto;padding:24px 20px 56px}
h1{font-size:25px;line-height:1.25;margin:0;letter-spacing:-.01em;overflow-wrap:anywhere}
h2{font-size:18px;margin:0 0 12px}h3{font-size:15px;margin:0}
p{margin:0}section,header{background:var(--card);border:1px solid var(--line);border-radius:10px;padding:20px 22px;margin:0 0 16px}
.soft{color:var(--soft)}.mono,code,td.value,td.path{font-family:ui-monospace,"SF Mono","DejaVu Sans Mono",Menlo,Consolas,monospace;font-size:13px;overflow-wrap:anywhere}
header{border-left:8px solid var(--busy);background:linear-gradient(var(--busy-back),var(--busy-back)) var(--card)}
header.committed{border-left-color:var(--good);background:var(--good-back)}header.undone{border-left-color:var(--bad);background:var(--bad-back)}
.verdict{display:flex;align-items:center;gap:12px;font-size:34px;line-height:1.1;letter-spacing:-.02em;font-weight:750;color:var(--busy);margin:0 0 10px}.committed .verdict{color:var(--good)}.undone .verdict{color:var(--bad)}
.verdict svg{width:36px;height:36px;flex:none}
.reason{margin-top:10px;font-size:16px;white-space:pre-wrap;overflow-wrap:anywhere}
.rest{white-space:pre-wrap;overflow-wrap:anywhere;font-size:13.5px;margin-top:4px}ol.stages li.more{border-color:transparent;background:none}
thead th{overflow-wrap:normal}.why{margin-top:14px}.why table{width:auto;font-size:16px}.why caption{text-align:left;color:var(--soft);font-size:14px;padding-bottom:2px;overflow-wrap:anywhere}.why th,.why td{padding:4px 22px 4px 0;border-color:color-mix(in srgb,var(--ink) 14%,transparent)}.why thead th{font-size:12.5px;color:var(--ink)}
.why td.measured{font-weight:700}.why .broken td,.why .broken th{color:var(--bad);font-weight:650}.why .broken td.measured{font-size:19px;line-height:1.2}
ol.stages{list-style:none;display:flex;flex-wrap:wrap;gap:6px;margin:14px 0 4px;padding:0}ol.stages li{border:1.5px solid var(--soft);border-radius:8px;padding:2px 10px;font-size:13.5px;overflow-wrap:anywhere;background:var(--card)}
ol.stages .state{color:var(--soft)}ol.stages li.passed{border-color:var(--good)}ol.stages li.passed>span:first-child{color:var(--good)}ol.stages li.breached,ol.stages li.refused{border-color:var(--bad);border-width:2.5px}
ol.stages li.breached span,ol.stages li.refused span{color:var(--bad);font-weight:650}ol.stages li.not-reached{border-style:dashed}ol.stages li.watched{border-color:var(--busy)}
.lead{margin-top:6px}a{color:inherit}article{margin-top:34px;border-top:3px solid var(--line);padding-top:18px}
dl{display:grid;grid-template-columns:max-content 1fr;gap:5px 20px;margin:0}dt{color:var(--soft)}dd{margin:0;overflow-wrap:anywhere}
table{border-collapse:collapse;width:100%;font-size:14px}th{text-align:left;font-weight:600;color:var(--soft);font-size:13px;vertical-align:bottom}
th,td{padding:6px 12px 6px 0;border-bottom:1px solid var(--line);vertical-align:top}td:last-child,th:last-child{padding-right:0}
tbody tr:last-child td,tbody tr:last-child th{border-bottom:0}td.number,th.number{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}
table.groups td,table.groups tbody th{border-bottom:0}table.groups tbody{border-bottom:1px solid var(--line)}table.groups tbody:last-child{border-bottom:0}
tbody th{color:var(--ink);font-size:14px}.scroll{overflow-x:auto}td,tbody th{overflow-wrap:anywhere}table.parts td,table.parts tbody th{overflow-wrap:break-word}td.number,th.number,.tag{overflow-wrap:normal}td br+br{display:none}
tr.breach td,tr.breach th{background:linear-gradient(var(--bad-back),var(--bad-back))}
td.path{width:34%}td .old{background:var(--removed)}td .new{background:var(--added)}td .old,td .new{padding:1px 4px;border-radius:4px;box-decoration-break:clone;-webkit-box-decoration-break:clone}
.tag{display:inline-block;border-radius:999px;padding:0 9px;font-size:12.5px;font-weight:600;line-height:20px;white-space:nowrap;background:var(--band);color:var(--soft)}
.tag.pass,.tag.end.committed{background:var(--good-back);color:var(--good)}.tag.breach,.tag.fail,.tag.undo,.tag.end.undone{background:var(--bad-back);color:var(--bad)}
.tag.stage,.tag.watching{background:var(--busy-back);color:var(--busy)}.tag.insufficient,.tag.unavailable{background:var(--warn-back);color:var(--warn)}
ol.timeline{list-style:none;margin:0;padding:0}ol.timeline li{display:grid;grid-template-columns:136px 84px 1fr;gap:0 10px;padding:4px 0;align-items:baseline}
ol.timeline time{text-align:right;color:var(--soft);font-variant-numeric:tabular-nums;white-space:nowrap;font-size:13.5px}ol.timeline .clock{opacity:.75;font-size:12.5px;margin-left:4px}ol.timeline span.text{overflow-wrap:anywhere;white-space:pre-wrap}
figure{margin:0 0 22px}figure:last-of-type{margin-bottom:4px}figcaption{display:flex;flex-wrap:wrap;gap:2px 18px;align-items:baseline;margin-bottom:4px}
.key{display:inline-flex;align-items:center;gap:6px;font-size:13px;color:var(--soft)}.key svg{width:26px;height:10px}
svg.chart{display:block;width:100%;height:auto}svg.chart.narrow{display:none}svg text{font:12px system-ui,-apple-system,"Segoe UI",Roboto,Arial,sans-serif;fill:var(--soft)}
.band rect{fill:var(--band);opacity:.45}.band.even rect{opacity:1}.band text{font-weight:600;fill:var(--ink)}.gap rect{fill:var(--warn-back);opacity:.8}.gap text{fill:var(--warn)}
.axis line{stroke:var(--line)}.axis line.base,.axis line.tick{stroke:var(--soft)}.limit line{stroke:var(--bad);stroke-dasharray:2 4}.limit text{fill:var(--bad)}
.line path{fill:none;stroke-width:2;stroke-linejoin:round}.line.stable path{stroke:var(--stable);stroke-dasharray:6 3}.line.candidate path{stroke:var(--candidate);stroke-width:2.4}.line.all path{stroke:var(--all)}.line.shadow path{stroke:var(--shadow);stroke-dasharray:1.5 3.5;stroke-width:2.6;stroke-linecap:round}.line.crosses path{stroke:var(--bad);stroke-width:1.8}
.line.stable circle{fill:var(--stable)}.line.candidate circle{fill:var(--candidate)}.line.all circle{fill:var(--all)}.line.shadow circle{fill:var(--shadow)}.line.dots circle{opacity:.55}
.mark line{stroke:var(--soft);stroke-dasharray:1 3}.mark.begin text,.mark.end text{fill:var(--ink)}.mark.end line{stroke:var(--ink);stroke-dasharray:none}.mark.breach line,.mark.undo line{stroke:var(--bad)}.mark.breach line{stroke-dasharray:none;stroke-width:1.6}.mark.breach path{fill:var(--bad)}.mark.breach text,.mark.undo text{fill:var(--bad);font-weight:650}
details{margin-top:10px}summary{cursor:pointer;color:var(--soft);font-size:14px}details table{margin-top:8px}
footer{color:var(--soft);font-size:13px;overflow-wrap:anywhere}
@media (max-width:640px){main{padding:12px 10px 40px}dl{grid-template-columns:1fr;gap:0}dd{margin-bottom:8px}ol.timeline li{grid-template-columns:auto 1fr;padding:7px 0}ol.timeline time{text-align:left}ol.timeline span.text{grid-column:1/-1}section,header{padding:14px 15px}h1{font-size:21px}
svg.chart.wide{display:none}svg.chart.narrow{display:block}.why th,.why td{padding-right:12px}
table.cards,table.cards tbody,table.cards tr,table.cards td,table.cards tbody th{display:block;width:auto;border:0;padding:0}table.cards thead{display:none}table.cards tr{border-bottom:1px solid var(--line);padding:9px 0}table.cards tr:last-child{border-bottom:0}
table.cards td[data-title]::before{content:attr(data-title)": ";color:var(--soft);font-family:system-ui,sans-serif;font-size:13px}table.groups th,table.groups td{font-size:13px;padding-right:9px}}
@media print{@page{margin:13mm}:root{color-scheme:light}body{background:#fff;font-size:10.5pt}main{max-width:none;padding:0}section,header{border-radius:0;border-width:0 0 1px;padding:12px 0;margin:0;background:none}
header{border-left-width:6px;border-bottom:0;padding:10px 14px;-webkit-print-color-adjust:exact;print-color-adjust:exact}.verdict{font-size:26px}.verdict svg{width:28px;height:28px}figure,tr,li,dl,.why,header{break-inside:avoid}h2,h3,figcaption,h2+p,thead,tr.breach:has(+tr.breach){break-after:avoid}tbody tr:last-child{break-before:avoid}
details:not([open]){display:none}.scroll{overflow:visible}svg,.tag,tr.breach td,tr.breach th,td .old,td .new{-webkit-print-color-adjust:exact;print-color-adjust:exact}figure{margin-bottom:10px}figure svg.chart.wide{max-height:43mm}
svg.chart.wide{display:block}svg.chart.narrow{display:none}footer{padding-top:10px}article{break-before:page;border-top:0;margin:0;padding:0}a{text-decoration:none}}
`;
